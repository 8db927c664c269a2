# A PostgreSQL on this machine that aurora starts by itself.
env "local" {
  url = "local://?engine=postgres"
  migration {
    dir = "file://migrations"
  }
}

# A PostgreSQL server of yours: set DATABASE_URL or give --var database_url=postgres://...
env "postgres" {
  url = var.database_url
  migration {
    dir = "file://migrations"
  }
}

variable "database_url" {
  type    = string
  default = getenv("DATABASE_URL")
}
