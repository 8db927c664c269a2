# An Aurora DSQL on this machine: aurora starts it.
env "local" {
  url = "local://"
  migration {
    dir = "file://migrations"
  }
}

# The same migrations on plain PostgreSQL.
env "postgres" {
  url = "local://?engine=postgres"
  migration {
    dir = "file://migrations"
  }
}

# Aurora DSQL itself, with the AWS credentials of the environment.
env "aws" {
  url       = "dsql://admin@${getenv("DSQL_ENDPOINT")}/postgres"
  protected = true
  migration {
    dir = "file://migrations"
  }
}
