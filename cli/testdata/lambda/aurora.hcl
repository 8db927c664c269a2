env "prod" {
  history {
    url = "dynamodb://${getenv("TABLE")}"
  }
}
