.DEFAULT_GOAL := help
.PHONY: help build quickstart roles lambda fargate customers ui test short fuzz bench fmt hash clean

GO ?= go

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build bin/aurora, small and static
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o bin/aurora ./cmd/aurora

roles: build ## Run examples/roles on a DynamoDB that is started for it
	AURORA_TEST_FETCH=1 $(GO) run ./tools/dynamodb sh -c 'cd examples/roles && $(GO) run ./demo && for c in apply status "show add-user-roles"; do ../../bin/aurora migrate --env local $$c; done'

lambda: build ## Run examples/roles as a Lambda function that continues itself
	AURORA_TEST_FETCH=1 PATH="$(CURDIR)/bin:$$PATH" $(GO) run ./tools/dynamodb examples/roles/lambda.sh

fargate: build ## Run examples/roles as Fargate tasks, one of them stopped at work
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o bin/aurora-runner ./cmd/aurora-runner
	AURORA_TEST_FETCH=1 PATH="$(CURDIR)/bin:$$PATH" $(GO) run ./tools/dynamodb $(GO) run ./tools/s3 examples/roles/fargate.sh

customers: build ## Apply examples/customers, expand to contract, to a local Aurora DSQL
	cd examples/customers && AURORA_PG_FETCH=1 ../../bin/aurora migrate --env local apply

quickstart: build ## Apply examples/quickstart to a local Aurora DSQL
	cd examples/quickstart && AURORA_PG_FETCH=1 ../../bin/aurora migrate --env local apply

test: ## Run every check and every test; installs what they need
	@tools/test.sh

short: ## Run the tests of the packages that need no database
	$(GO) test . ./auroratest ./internal/sqllex ./internal/config ./sqlfile

fuzz: ## Fuzz the parsers of outside input for a minute each
	$(GO) test ./internal/sqllex -run '^$$' -fuzz FuzzLexer -fuzztime 1m
	$(GO) test ./sqlfile -run '^$$' -fuzz FuzzLoad -fuzztime 1m
	$(GO) test ./internal/config -run '^$$' -fuzz FuzzLoad -fuzztime 1m
	$(GO) test ./internal/gobuild -run '^$$' -fuzz FuzzAddEntry -fuzztime 1m
	$(GO) test ./dsql -run '^$$' -fuzz FuzzRewrite -fuzztime 1m
	$(GO) test ./dsql -run '^$$' -fuzz FuzzParseTarget -fuzztime 1m
	$(GO) test ./filestore -run '^$$' -fuzz FuzzReadFrame -fuzztime 1m
	$(GO) test ./filestore -run '^$$' -fuzz FuzzState -fuzztime 1m
	$(GO) test ./localdsql -run '^$$' -fuzz FuzzToken -fuzztime 1m
	$(GO) test ./localdsql/internal/policy -run '^$$' -fuzz FuzzDecide -fuzztime 1m
	$(GO) test ./localdsql/internal/wire -run '^$$' -fuzz FuzzStart -fuzztime 1m
	$(GO) test ./localdsql/internal/wire -run '^$$' -fuzz FuzzRelay -fuzztime 1m

bench: ## Run the benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

fmt: ## Format the code
	gofmt -w .

ui: ## Build the dashboard's pages into ui/dist
	npm --prefix ui ci --no-audit --no-fund
	npm --prefix ui run build

hash: build ## Recompute the examples' atlas.sum
	bin/aurora migrate hash --dir file://examples/quickstart/migrations
	bin/aurora migrate hash --dir file://examples/shop/migrations
	bin/aurora migrate hash --dir file://examples/customers/migrations

clean: ## Remove what was built, and the examples' databases
	rm -rf bin examples/*/.aurora
