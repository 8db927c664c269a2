CREATE TABLE batches (n int PRIMARY KEY, times int NOT NULL);
