# What the kit does, by name. `make` lists it; every program behind it can be called by hand as well.
#
#   SLUGS  the file that lists the repositories (repos.yaml; for `up`: examples/repos.yaml)
#   STACK  the stack to work on (KARST_STACK, else karst)
#   TESTS  what `make test` runs (tests)
#   SIZES  numbers of services that `make scale` creates (20 50)
#   PART   what `make chaos` runs: deploys, rotations, peers, kills, soak, hosts or swarm (all of them); what `make bench` runs: deploys, mesh, footprint or variants
#
# make expands what it is given: `SLUGS='$(shell …)'` would run a command. `value` takes the text as it stands, and the
# recipes read it from the environment, where no shell looks inside it either.
override SLUGS := $(value SLUGS)
override STACK := $(value STACK)
override TESTS := $(value TESTS)
override PART := $(value PART)
override SIZES := $(value SIZES)
export SLUGS STACK TESTS PART SIZES

# A variable that nobody reads is a typing error, and make would expand it for the recipes' environment.
known := SLUGS STACK TESTS PART SIZES
given := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
unknown := $(filter-out $(known) MAKE% -%,$(given))
$(if $(unknown),$(error unknown variable $(firstword $(unknown)): this Makefile takes $(known)))

# Python images forbid bytecode; each start would then compile the kit again, and each test process all tests.
unexport PYTHONDONTWRITEBYTECODE

# `make plan apply` means first one, then the other, with any -j.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

tool := scripts/toolchain
iac := admin/iac $${STACK:+--stack "$$STACK"}

.PHONY: help bootstrap doctor up admin plan apply destroy health test test-slow test-page test-real deployed bench bench-build bench-admin corpus chaos scale security lint fmt proto lock clean

help: ## list what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

bootstrap: ## set up what is missing: Python environment, engine, Terraform, providers, base image, hooks, `iac`
	@$(tool)/environment
	@$(tool)/environment --dev
	@$(tool)/engine
	@$(tool)/terraform
	@$(tool)/providers
	@$(tool)/base-image
	@$(tool)/dev python $(tool)/proto --check
	@$(tool)/hooks
	@$(tool)/link

doctor: ## say what is there, what is missing, what bootstrap would do; changes nothing
	@$(tool)/doctor

up: bootstrap ## bootstrap, deploy SLUGS (default examples/repos.yaml), print each service's health
	@$(iac) deploy --file "$${SLUGS:-examples/repos.yaml}"

admin: ## start the admin app: 127.0.0.1:8080 and its Unix socket
	@scripts/admin

plan: ## say what would change for SLUGS (default repos.yaml), and save the plan
	@$(iac) plan --file "$${SLUGS:-repos.yaml}"

apply: ## apply exactly the saved plan; without one, plan first
	@$(iac) apply $${SLUGS:+--file "$$SLUGS"}

destroy: ## remove the stack's containers, network and images
	@$(iac) destroy

health: ## ask every service for its health over mTLS
	@$(iac) health

test: bootstrap ## unit and integration tests, under 90 s once the toolchain is there
	@$(tool)/tool --optional grpcurl
	@$(tool)/dev pytest -n 3 --dist loadgroup "$${TESTS:-tests}"

test-slow: bootstrap ## the tests that `make test` leaves out for their time: changes under load, fuzzing, cancelled runs (minutes)
	@$(tool)/tool --optional step step-ca
	@$(tool)/dev pytest -m "slow and not real" "$${TESTS:-tests}"

test-page: bootstrap ## the page in a real browser, on a real stack (minutes); KARST_TEST_IMAGES=docs/images keeps its pictures
	@$(tool)/browser
	@$(tool)/environment --page
	@$(tool)/dev --page pytest -m page tests/page

test-real: bootstrap ## deploy real published applications (many minutes)
	@$(tool)/tool --optional grpcurl
	@$(tool)/dev pytest -m real "$${TESTS:-tests}"

deployed: bootstrap ## deploy the published applications alone, and write the table in docs/deployed.md
	@KARST_TEST_WRITE_DOCS=1 $(tool)/dev pytest -m real tests/integration/test_real_apps.py

bench: bootstrap ## measure the kit beside bare Terraform, Compose and other proxies; writes docs/benchmarks.md (an hour and a half)
	@$(tool)/tool docker-compose fortio
	@PYTHONPATH=scripts:. $(tool)/dev python -m tests.bench --write-docs $${PART:+"$$PART"}

bench-build: bootstrap ## measure builds and changes beside a hand-written Dockerfile and Compose; writes docs/build.md (minutes)
	@$(tool)/tool docker-compose
	@PYTHONPATH=scripts $(tool)/dev python -m tests.bench_build

bench-admin: bootstrap ## measure the admin app's answers beside open streams, and its memory; writes docs/admin.md
	@PYTHONPATH=scripts:. $(tool)/dev python -m tests.bench_admin

corpus: ## score the detection against what readers say of real repositories (tests/corpus)
	@PYTHONPATH=scripts $(tool)/dev python -m tests.corpus

chaos: bootstrap ## count failed requests during changes, kills and overload; write docs/reliability.md, docs/hosts.md and docs/swarm.md (half an hour)
	@$(tool)/tool --optional docker-compose vegeta
	@PYTHONPATH=scripts:. $(tool)/dev python -m tests.chaos --write-docs $${PART:+"$$PART"}

scale: bootstrap ## plan long lists, create SIZES services, run into limits on purpose; writes docs/scale.md (most of an hour)
	@PYTHONPATH=scripts:. $(tool)/dev python -m tests.scale --write-docs

security: bootstrap ## attack the mesh with real clients, fuzz the parsers, scan the code; writes docs/security.md's table (minutes)
	@$(tool)/tool --optional grpcurl
	@$(tool)/environment --security
	@$(tool)/dev python $(tool)/security

lint: ## every linter over everything
	@$(tool)/terraform
	@$(tool)/providers
	@$(tool)/lint

fmt: ## let the formatters write
	@$(tool)/lint --fix

proto: ## generate the Python of proto/controlplane.proto
	@$(tool)/dev python $(tool)/proto

lock: ## compile requirements.txt, requirements-dev.txt and requirements-page.txt from pyproject.toml
	@$(tool)/lock

clean: ## remove what tests and linters leave in the checkout; keeps secrets, state and cache
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov build *.egg-info
