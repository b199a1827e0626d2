"""The tables of docs/benchmarks.md, each made again by one command."""
