from __future__ import annotations

import pytest

from edgetl_runtime.doctor import recording
from edgetl_runtime.doctor.checks import thermal
from edgetl_runtime.doctor.findings import Need

ZONE = "/sys/class/thermal/thermal_zone0/"


def machine(**files: str) -> recording.Recording:
    return recording.Recording(files={ZONE + name: text for name, text in files.items()}, commands={})


@pytest.mark.parametrize(
    ("degrees", "level"), [("88999", "ok"), ("89001", "warn"), ("98999", "warn"), ("99000", "fail")]
)
def test_a_zone_is_judged_by_its_lowest_trip_point(degrees, level):
    trips = {"trip_point_0_temp": "104500", "trip_point_0_type": "critical", "trip_point_1_temp": "99000"}
    said = machine(type="tj-thermal", temp=degrees, trip_point_1_type="passive", **trips)
    assert [finding.level for finding in thermal.check(said, Need())] == [level]


def test_a_zone_without_trip_point_is_judged_by_an_assumed_limit():
    (finding,) = thermal.check(machine(type="x86_pkg_temp", temp="96000"), Need())
    assert (finding.level, finding.found) == ("fail", "x86_pkg_temp is at 96 °C, it slows down at 95 °C")


def test_without_zones_the_sensors_of_tegrastats_count():
    said = recording.parse("=== command tegrastats 124\n| RAM 1/2MB cpu@50C tj@90.5C\n")
    (finding,) = thermal.check(said, Need())
    assert (finding.level, finding.found) == ("warn", "tj is at 90 °C, it slows down at 95 °C")


def test_a_machine_without_sensors_says_so():
    (finding,) = thermal.check(recording.parse("=== command uname 0\n| Linux\n"), Need())
    assert (finding.level, finding.found) == ("unknown", "this machine shows no temperature")


@pytest.mark.parametrize(
    ("current", "command"),
    [("MAXN", "use a stronger supply, or: sudo nvpmodel -m 1"), ("25W", "use a stronger supply")],
)
def test_over_current_advises_a_lower_mode_only_above_the_default(current, command):
    files = {
        "/sys/class/hwmon/hwmon2/oc1_event_cnt": "3",
        "/sys/class/hwmon/hwmon2/oc2_event_cnt": "0",
        "/etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=MAXN >\n< POWER_MODEL ID=1 NAME=25W >\n< PM_CONFIG DEFAULT=1 >",
    }
    said = recording.Recording(
        files=files, commands={"nvpmodel": recording.Output(code=0, text=f"NV Power Mode: {current}")}
    )
    finding = list(thermal.check(said, Need()))[1]
    assert finding.found.startswith("3 under-voltage events since the start")
    assert finding.command == command


@pytest.mark.parametrize(
    ("bits", "level", "words"),
    [
        ("0x1", "fail", "now: under-voltage"),
        ("0x50000", "warn", "since the start: under-voltage, throttled"),
        ("0x8", "fail", "now: the soft temperature limit is reached"),
        ("0xe0000", "warn", "since the start: the clock is capped, throttled, the soft temperature limit is reached"),
    ],
)
def test_the_bits_of_a_raspberry_pi_are_read(bits, level, words):
    said = recording.parse(f"=== command vcgencmd 0\n| throttled={bits}\n")
    finding = list(thermal.check(said, Need()))[1]
    assert (finding.level, finding.found) == (level, words)


def test_an_unthrottled_raspberry_pi_is_no_finding():
    assert len(list(thermal.check(recording.parse("=== command vcgencmd 0\n| throttled=0x0\n"), Need()))) == 1
