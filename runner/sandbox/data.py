"""The data of the sandbox's syncs: generates a plausible year, and parses and checks each item."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

DAYS = 365


@dataclass(frozen=True, slots=True)
class Item:
    """One file to sync: its path and the day at the start of its name."""

    path: Path
    day: str


def items(directory: Path, sync_type: str, start: str | None, end: str | None) -> list[Item]:
    """Yields the type's files whose day is from `start` to `end` (ISO days, inclusive), in order."""
    folder = directory / sync_type
    found = (Item(path, path.name[:10]) for path in sorted(folder.iterdir())) if folder.is_dir() else iter(())
    return [item for item in found if (start is None or item.day >= start) and (end is None or item.day <= end)]


def parse(path: Path) -> dict[str, Any]:
    """Parses the item in the file. Raises ValueError with the reason where it is invalid or implausible."""
    try:
        if path.suffix == ".gpx":
            return _gpx(path)
        if path.suffix == ".tcx":
            return _tcx(path)
        return _json(path)
    except ValueError:
        raise
    except Exception as error:  # noqa: BLE001 - parsers of foreign files raise anything
        raise ValueError(f"{path.name}: cannot be parsed ({type(error).__name__})") from None


def _gpx(path: Path) -> dict[str, Any]:
    import gpxpy

    track = gpxpy.parse(path.read_text(encoding="utf-8"))
    points = sum(len(segment.points) for one in track.tracks for segment in one.segments)
    bounds = track.get_time_bounds()
    if points < 2 or bounds.start_time is None or bounds.end_time is None:
        raise ValueError(f"{path.name}: a track needs two points with times")
    seconds = (bounds.end_time - bounds.start_time).total_seconds()
    return _activity(path, track.length_2d(), seconds)


def _tcx(path: Path) -> dict[str, Any]:
    from defusedxml import ElementTree

    names = {"t": "http://www.garmin.com/xmlschemas/TrainingCenterDatabase/v2"}
    lap = ElementTree.parse(path).find("t:Activities/t:Activity/t:Lap", names)
    if lap is None:
        raise ValueError(f"{path.name}: no lap")
    metres = float(lap.findtext("t:DistanceMeters", "nan", names))
    return _activity(path, metres, float(lap.findtext("t:TotalTimeSeconds", "nan", names)))


def _activity(path: Path, metres: float, seconds: float) -> dict[str, Any]:
    if not 0 < metres < 1_000_000 or not 0 < seconds < 172_800:
        raise ValueError(f"{path.name}: distance or time is not plausible")
    return {"metres": round(metres), "seconds": round(seconds)}


def _json(path: Path) -> dict[str, Any]:
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or data.get("date") != path.name[:10]:
        raise ValueError(f"{path.name}: no object with its own date")
    ranges = {"steps": (0, 200_000), "resting_heart_rate": (20, 150), "sleep_minutes": (0, 1440), "minutes": (1, 1440)}
    for key, (low, high) in ranges.items():
        if key in data and not (isinstance(data[key], int) and low <= data[key] <= high):
            raise ValueError(f"{path.name}: `{key}` is not plausible")
    return data


def generate(directory: Path, seed: int, last_day: date) -> None:
    """Writes a year of activities, daily health summaries and workouts up to `last_day`; the same for the same seed."""
    rng = random.Random(seed)
    for name in ("activities", "health", "workouts"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    for number in range(DAYS):
        day = last_day - timedelta(days=DAYS - 1 - number)
        _write(directory / "health" / f"{day}.json", _health(rng, day))
        if rng.random() < 0.4:
            kind = rng.choice(("gpx", "tcx"))
            path = directory / "activities" / f"{day}-{'run' if kind == 'gpx' else 'ride'}.{kind}"
            path.write_text("\n".join(_track(rng, day) if kind == "gpx" else _lap(rng, day)), encoding="utf-8")
        if rng.random() < 0.17:
            minutes = rng.randint(15, 90)
            _write(directory / "workouts" / f"{day}.json", {"date": str(day), "name": "strength", "minutes": minutes})


def _write(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data), encoding="utf-8")


def _health(rng: random.Random, day: date) -> dict[str, Any]:
    return {
        "date": str(day),
        "steps": rng.randint(1500, 22_000),
        "resting_heart_rate": rng.randint(46, 62),
        "sleep_minutes": rng.randint(300, 560),
    }


def _start(rng: random.Random, day: date) -> datetime:
    return datetime(day.year, day.month, day.day, rng.randint(6, 19), rng.randint(0, 59), tzinfo=UTC)


def _track(rng: random.Random, day: date) -> Iterator[str]:
    at, lat, lon = _start(rng, day), 48.1 + rng.random() / 10, 11.5 + rng.random() / 10
    yield '<gpx version="1.1" creator="sandbox" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>'
    for _ in range(rng.randint(20, 40)):
        yield f'<trkpt lat="{lat:.6f}" lon="{lon:.6f}"><time>{at:%Y-%m-%dT%H:%M:%SZ}</time></trkpt>'
        at, lat, lon = at + timedelta(seconds=60), lat + 0.0015, lon + rng.uniform(-0.001, 0.001)
    yield "</trkseg></trk></gpx>"


def _lap(rng: random.Random, day: date) -> Iterator[str]:
    seconds = rng.randint(1800, 10_000)
    at = f"{_start(rng, day):%Y-%m-%dT%H:%M:%SZ}"
    yield '<TrainingCenterDatabase xmlns="http://www.garmin.com/xmlschemas/TrainingCenterDatabase/v2"><Activities>'
    yield f'<Activity Sport="Biking"><Id>{at}</Id><Lap StartTime="{at}"><TotalTimeSeconds>{seconds}</TotalTimeSeconds>'
    yield f"<DistanceMeters>{seconds * rng.uniform(5, 9):.0f}</DistanceMeters></Lap></Activity>"
    yield "</Activities></TrainingCenterDatabase>"
