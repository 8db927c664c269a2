env "production" {
  url = getenv("DATABASE_URL")
}
