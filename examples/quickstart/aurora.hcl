# A PostgreSQL on this machine that aurora starts by itself.
env "local" {
  url = "local://"
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

# Aurora DSQL. It has no triggers, enums or materialized views, so this shop
# can't run there: migrations for DSQL live in a directory of their own.
env "aws" {
  # The database is always "postgres". The token is signed anew for every connection.
  url = "postgres://${var.aws_dsql_username}:${urlescape(data.aws_dsql_token.this)}@${var.aws_dsql_host}:5432/postgres?sslmode=verify-full"
  migration {
    dir = "file://database/migration"
  }
}

data "aws_dsql_token" "this" {
  username = var.aws_dsql_username
  endpoint = var.aws_dsql_host
  region   = var.aws_region
}

variable "aws_dsql_username" {
  type    = string
  default = "my-service"
}

variable "aws_dsql_host" {
  type    = string
  default = getenv("DATABASE_HOST")
}

variable "aws_region" {
  type    = string
  default = getenv("AWS_REGION")
}
