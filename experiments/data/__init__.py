"""Data sets that a team shares: races in a folder, on S3, over SFTP or on an MLflow server.

`store.open_store(url)` opens a store, `Store.push` adds files to a data set, `Store.pull` fetches
it, and `reference.source("data:NAME")` is what a training calls. docs/data.md has the layout.
"""
