"""Which folders and files never hold the way into a program."""

from __future__ import annotations

import re

from karst.detect.wordset import wordset

# Not even looked into: other people's code and build results.
PRUNED = wordset("""
    node_modules bower_components jspm_packages site-packages dist-packages __pycache__ __pypackages__ venv
    virtualenv env.bak venv.bak egg-info eggs wheels htmlcov vendor third_party thirdparty 3rdparty external_libs
    extern
    """)

# Looked into, but nothing in them is ever started by a convention.
SECONDARY = wordset("""
    test tests testing unittests unit_tests integration_tests e2e spec specs doc docs documentation example examples
    sample samples demo demos tutorial tutorials tool tools tooling benchmark benchmarks bench perf fixtures fixture
    testdata test_data migrations alembic versions contrib hack ci build dist notebooks notebook template templates
    cookiecutter skeleton playground sandbox experiments snippets recipes assets static locale website typings stubs
    deploy deployment ansible terraform packaging snap debian rpm fuzz fuzzing
    """)

# Only the last resort, the scan, stays out of these as well: helpers around a program, not the program.
SCAN_SECONDARY = wordset("""
    script scripts util utils helper helpers misc dev devtools maintenance admin_scripts bin research papers
    """)

# Names of files that are run by other tools, or that describe the package.
TOOL_FILES = wordset("""
    setup.py conftest.py noxfile.py tasks.py fabfile.py dodo.py toxfile.py versioneer.py ez_setup.py
    distribute_setup.py conanfile.py SConstruct.py wscript.py gunicorn.conf.py gunicorn_config.py gunicorn_conf.py
    hubconf.py manage.py _version.py __version__.py version.py get-pip.py ah_bootstrap.py build.py _build.py
    release.py make.py bootstrap.py pavement.py runtests.py run_tests.py test.py tests.py testing.py locustfile.py
    cog.py sitecustomize.py
    """)

_TEST_FILE = re.compile(r"\A(?:test_[^/]*|[^/]*_tests?|tests?)\.py\Z")

# First words of names that belong to chores: picked by nothing when something else is there.
_CHORES = wordset("""
    test tests lint format fmt black isort flake8 mypy typecheck check checks ci cov coverage docs doc dev develop
    clean build publish release bump version install setup seed seeds migrate migration migrations makemigrations
    upgrade downgrade initdb createdb dropdb resetdb bench benchmark profile generate gen codegen download precommit
    hooks shell console pytest tox watch debug export import fixtures
    """)
_CHORE_PHRASES = wordset("""
    init_db create_db drop_db reset_db create_user create_superuser pre_commit type_check
    """)

_TRAINING = wordset("""
    train training trainer finetune fine eval evaluate evaluation predict prediction infer inference preprocess
    preprocessing prepare prep convert converter download plot visualize visualise vis demo example sample score
    submit submission ablation sweep dataset data export benchmark compute extract generate make test analyze
    analyse analysis plots figures figure
    """)


def secondary_folder(name: str) -> bool:
    """True for tests, docs, examples and the like, also in their spelled-out forms (``unit-tests``, ``docs_src``)."""
    low = name.lower().replace("-", "_")
    if low in SECONDARY or "{{" in name or name.startswith("."):
        return True
    parts = low.split("_")
    return len(parts) > 1 and (
        parts[-1] in {"tests", "test", "examples", "docs"} or parts[0] in {"test", "tests", "docs"}
    )


def example_file(name: str) -> bool:
    """True for ``example.py``, ``x_sample.py``, and for what stands in for a real part (``mock_bank.py``)."""
    return bool(
        {"example", "examples", "sample", "samples", "mock", "fake", "dummy", "stub"}
        & set(words(name.removesuffix(".py")))
    )


def test_file(name: str) -> bool:
    return bool(_TEST_FILE.match(name)) or name == "conftest.py"


def words(name: str) -> list[str]:
    return [word for word in re.split(r"[-_. ]+", name.lower()) if word]


def chore(name: str) -> bool:
    """True when a name says that it helps to develop the program and is not the program."""
    low = name.lower().replace("-", "_")
    if low in _CHORE_PHRASES:
        return True
    parts = words(name)
    return bool(parts) and (parts[0] in _CHORES or (len(parts) > 1 and parts[-1] in _CHORES - {"shell", "console"}))


def training(name: str) -> bool:
    """True for the steps of a data or training project: one of many, none of them the program."""
    parts = words(name)
    return bool(parts) and (parts[0] in _TRAINING or parts[-1] in _TRAINING)
