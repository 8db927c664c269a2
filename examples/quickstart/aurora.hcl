# An Aurora DSQL on this machine: aurora starts it, with DSQL's rules.
env "local" {
  url = "local://"
  migration {
    dir = "file://migrations"
  }
}

# The same files on plain PostgreSQL, which aurora starts too.
env "postgres" {
  url = "local://?engine=postgres"
  migration {
    dir = "file://migrations"
  }
}

# Aurora DSQL itself. Every connection gets a token of its own, made from the
# AWS credentials of the environment.
env "aws" {
  url = "dsql://${var.user}@${var.endpoint}/postgres"
  migration {
    dir = "file://migrations"
  }
}

variable "endpoint" {
  type        = string
  default     = getenv("DSQL_ENDPOINT")
  description = "<cluster>.dsql.<region>.on.aws"
}

variable "user" {
  type    = string
  default = "admin"
}
