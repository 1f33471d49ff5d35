"""`attest serve`: HTTP and the sequencer in one process."""

import sys
from pathlib import Path

import click
import structlog

from attest.api import create_app
from attest.cli import output, serving
from attest.config import Config
from attest.node import Node


@click.command()
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    envvar="ATTEST_DIR",
    help="where attest.toml is",
)
@click.option("--host", help="instead of the configured one")
@click.option("--port", type=int, help="instead of the configured one; 0 takes a free one")
def serve(directory: Path, host: str | None, port: int | None) -> None:
    """Serve the log in DIR until SIGTERM or Ctrl-C.

    Several may serve one database: one of them sequences, the others stand by and answer.
    """
    config = Config.load(directory)
    serving.log_to(sys.stderr.isatty())
    logger = structlog.get_logger("attest.serve")
    node = Node.open(config)
    try:
        app = create_app(node, wait_s=config.wait_s, writes_per_minute=config.writes_per_minute)
        address = host or config.host, config.port if port is None else port
        server = serving.listen(app, *address, threads=config.threads)
        node.start()
        for place in serving.places(server):
            logger.info("serving", url=place, origin=config.origin, size=node.view.size)
            output.line("url", place)
        sys.stdout.flush()
        serving.run(server)
        logger.info("stopping")
    finally:
        node.stop()
