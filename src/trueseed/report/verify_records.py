"""Are the records that a proof holds the ones that their artifact counts, and of sources that it is labelled with?"""

import io
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from trueseed.core.records import read_parquet, record_root

COUNTED = {"records": ("records.parquet",), "dataset": ("train.parquet", "validation.parquet")}  # in this order


def faults(manifest: Mapping[str, Any], files: Mapping[str, bytes], sources: Collection[str]) -> Iterator[str]:
    """One sentence for each fault. files: those of the artifact, by their names in it. sources: of its labels.

    An artifact whose manifest names no root of records counts none.
    """
    promised = manifest["meta"].get("record_root")
    if promised is None:
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids: list[str] = []
    for name in COUNTED.get(manifest["kind"], ()):
        try:
            records = list(read_parquet(io.BytesIO(files[name])))
            written = pq.read_table(io.BytesIO(files[name]), columns=["id"]).column("id").to_pylist()
        except (KeyError, TypeError, ValueError, OSError, pa.ArrowException) as err:
            yield f"{name} cannot be read as records ({err!r})"
            return
        found = [record.id for record in records]
        ids += found
        for identity, said in zip(found, written, strict=True):
            if identity != said:
                yield f"{name} has a record under the id {str(said)[:12]}, whose content has {identity[:12]}"
        for source in sorted({record.origin.source for record in records} - set(sources)):
            yield f"{name} has records of {source!r}, whose label it does not carry"
    if record_root(ids) != promised:
        yield f"its records have the root {record_root(ids)}, its manifest says {promised}"
