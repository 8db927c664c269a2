env "prod" {
  url = getenv("DATABASE_URL")
}

env "staging" {
  url = "postgres://app:${file("password.txt")}@staging.example.com/app"
}
