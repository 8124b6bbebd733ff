# One way to do each thing; CI runs what a person runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header

# Byte code is kept: what starts the runner a thousand times would else compile it as often.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint check test-containers test-cluster servers test-servers image docs bench mutation sbom lint-k8s lock clean
help: ## Show the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 20

$(VENV)/.runtime: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -e '.[sandbox]'
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) install --upgrade 'pip>=25.1'
	$(PIP) install --group dev
	@touch $@

$(VENV)/.servers: $(VENV)/.dev tests/servers/requirements.lock
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/servers
	$(BIN)/uv pip install --quiet --python $(VENV)/servers/bin/python --require-hashes -r tests/servers/requirements.lock
	@touch $@

# Each real server has an environment of its own, beside the runner's and apart from every other's.
SERVERS := airflow dagster flower prefect
$(SERVERS:%=$(VENV)/.%): $(VENV)/.%: $(VENV)/.dev tests/servers/locks/%.lock
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/$*
	$(BIN)/uv pip install --quiet --python $(VENV)/$*/bin/python --require-hashes -r tests/servers/locks/$*.lock
	@touch $@

demo: $(VENV)/.runtime ## Log in, run three syncs against the embedded sandbox API, show the report
	$(BIN)/sync-runner demo

test: $(VENV)/.dev $(VENV)/.servers ## Every test that needs neither Docker nor a cluster nor a large server; PYTEST_ARGS are handed on
	$(BIN)/python -m pytest -n auto --dist loadgroup -m "not servers" --ignore tests/containers --ignore tests/cluster $(PYTEST_ARGS)

lint: $(VENV)/.dev ## Style, types, the Dockerfile and what other CI systems read
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/actionlint
	$(BIN)/zizmor --offline --quiet .
	$(BIN)/check-jsonschema --builtin-schema vendor.github-actions action.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.gitlab-ci examples/ci/gitlab.yml

check: lint ## Style, types, tests with branch coverage of at least 95 %
	$(BIN)/coverage erase
	$(MAKE) --no-print-directory test PYTEST_ARGS="--cov --cov-report=term"

test-containers: $(VENV)/.dev ## The tests that need a Docker engine
	TESTCONTAINERS_RYUK_DISABLED=true $(BIN)/python -m pytest tests/containers -rs -m "not alone" -n auto $(PYTEST_ARGS)
	TESTCONTAINERS_RYUK_DISABLED=true $(BIN)/python -m pytest tests/containers -rs -m alone $(PYTEST_ARGS)

# Home Assistant wants Python 3.13, pyenv's where there is one; the servers of npm want Node.js 20. Only sqlite3 is compiled.
HOME_ASSISTANT_PYTHON ?= $(or $(lastword $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.13.*/bin/python3.13)),3.13)
$(VENV)/.home-assistant: $(VENV)/.dev tests/servers/locks/home-assistant.lock
	$(BIN)/uv venv --quiet --clear --python $(HOME_ASSISTANT_PYTHON) $(VENV)/home-assistant
	$(BIN)/uv pip install --quiet --python $(VENV)/home-assistant/bin/python --require-hashes -r tests/servers/locks/home-assistant.lock
	@touch $@

NPM_SERVERS := directus n8n
# The headers that came with Node.js, where they did; else npm downloads them.
NODE_HEADERS = $(patsubst %/include/node/node.h,--nodedir=%,$(wildcard $(shell node -p 'path.resolve(process.execPath, "../..")')/include/node/node.h))
$(NPM_SERVERS:%=$(VENV)/.%): $(VENV)/.%: tests/servers/npm/%/package-lock.json
	rm -rf $(VENV)/$* && cp -r tests/servers/npm/$* $(VENV)/$*
	cd $(VENV)/$* && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error && npm rebuild --loglevel=error $(NODE_HEADERS) sqlite3
	@touch $@

servers: $(VENV)/.dev $(VENV)/.servers $(SERVERS:%=$(VENV)/.%) $(VENV)/.home-assistant $(NPM_SERVERS:%=$(VENV)/.%) ## Install the servers that test-servers needs

test-servers: servers ## The matrix on real servers: Airflow, allauth, Dagster, Celery with Flower, Directus, Home Assistant, Keycloak, n8n, Prefect; oauth2-proxy; needs redis-server, Maven, a JDK, Go, Python 3.13 and Node.js 20
	$(BIN)/python -m pytest tests/servers -m servers -n 3 --dist loadgroup -rxX $(PYTEST_ARGS)

test-cluster: $(VENV)/.dev $(VENV)/.airflow build/helm ## The tests on a Kubernetes cluster of two nodes, which SYNC_RUNNER_CLUSTER starts and breaks
	$(BIN)/python -m pytest tests/cluster -rs -m "not alone" -n 2 --dist loadgroup $(PYTEST_ARGS)
	$(BIN)/python -m pytest tests/cluster -rs -m alone $(PYTEST_ARGS)

build/helm:
	GOBIN=$(CURDIR)/build GOFLAGS=-trimpath go install -ldflags '-s -w' helm.sh/helm/v3/cmd/helm@v3.19.5

image: ## Build the container image; its times are the commit's, so that a second build gives the same layers
	docker build --network host -t sync-runner:dev \
	  --build-arg SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) --build-arg REVISION=$$(git rev-parse HEAD) .

docs: $(VENV)/.dev ## Write what is written from code: docs/events.*, docs/report.schema.json, docs/images, the manual page, the profiles' schema, .env.example, failure policies, the PrometheusRule, the address
	$(BIN)/python -m tools.event_reference docs
	$(BIN)/python -m tools.report_schema docs
	$(BIN)/python -m tools.pictures docs/images
	$(BIN)/sync-runner profiles schema > docs/profiles/profile.schema.json
	$(BIN)/sync-runner config init --env > .env.example
	$(BIN)/python -m k8s.written
	$(BIN)/python -m tools.machine_tables
	$(BIN)/python -m tools.messages
	$(BIN)/python -m tools.manual
	$(BIN)/python -m tools.address
	$(BIN)/python k8s/prometheus_rule.py
	$(BIN)/python -m tools.decision_index

bench: $(VENV)/.dev ## Measure the runner beside others, and write docs/performance.md (about an hour; no test)
	$(BIN)/python -m benchmarks

sbom: $(VENV)/.dev ## List what the image holds of Python packages: dist/sbom.cdx.json (CycloneDX)
	$(PYTHON) -m venv --clear build/sbom
	build/sbom/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	build/sbom/bin/python -m pip uninstall --quiet --yes pip setuptools
	mkdir -p dist
	$(BIN)/uv tool run --quiet --from 'cyclonedx-bom>=7,<8' cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible \
	  --output-file dist/sbom.cdx.json build/sbom/bin/python

MUTANTS ?= *
mutation: $(VENV)/.dev ## Break the code in small ways; the tests must notice. MUTANTS='runner.auth.*' for a part
	$(BIN)/python -m tests.campaign.mutation $(foreach one,$(MUTANTS),'$(one)')

build/checkov/bin/checkov:
	$(PYTHON) -m venv build/checkov
	build/checkov/bin/python -m pip install --quiet --disable-pip-version-check checkov==3.3.30

lint-k8s: $(VENV)/.dev build/checkov/bin/checkov ## The manifests by checkov's rules; what is left out, and why: k8s/checkov.yaml
	rm -rf build/k8s && mkdir -p build/k8s
	for root in k8s/base k8s/overlays/*; do $(BIN)/kubectl kustomize $$root > build/k8s/$$(basename $$root).yaml || exit 1; done
	build/checkov/bin/checkov --config-file k8s/checkov.yaml --directory build/k8s

lock: $(VENV)/.dev ## Pin and hash every dependency of the images
	$(COMPILE) --extra encryption --extra html --extra jwt --extra otlp --extra postgresql pyproject.toml -o requirements.lock
	$(COMPILE) --extra encryption --extra html --extra jwt --extra otlp --extra postgresql --extra sandbox -c requirements.lock pyproject.toml -o requirements-sandbox.lock
	$(COMPILE) --group build -c requirements.lock -o requirements-build.lock
	$(COMPILE) tests/servers/requirements.in -o tests/servers/requirements.lock
	for server in $(SERVERS); do $(COMPILE) tests/servers/locks/$$server.in -o tests/servers/locks/$$server.lock || exit 1; done
	$(subst 3.11,3.13,$(COMPILE)) tests/servers/locks/home-assistant.in -o tests/servers/locks/home-assistant.lock

clean: ## Remove what was built
	rm -rf $(VENV) dist build mutants .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis
