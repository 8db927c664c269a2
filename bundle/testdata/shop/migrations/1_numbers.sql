CREATE TABLE numbers (n int PRIMARY KEY, times int NOT NULL DEFAULT 1);
