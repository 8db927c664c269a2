# A DynamoDB on this machine: AWS_ENDPOINT_URL_DYNAMODB says where.
env "local" {
  history {
    url = "dynamodb://MigrationsTable?region=eu-central-1"
  }
  migration {
    dir = "file://migrations"
  }
}

# DynamoDB, with the AWS credentials of the environment.
env "aws" {
  protected = true
  history {
    url = "dynamodb://${getenv("MIGRATIONS_TABLE")}"
  }
  migration {
    dir = "file://migrations"
  }
}
