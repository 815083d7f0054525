"""What an operator should know: raised, said anew, taken back."""

from mta.spool import alarms
from mta.spool.alarms import Alarm


def test_put(table):
    """An alarm keeps the time of its first word; without words it is over."""
    table.write(alarms.put, "b", "dns", "no AD bit", 5)
    table.write(alarms.put, "a", "dns", "x", 6)
    table.write(alarms.put, "b", "dns", "still no AD bit", 9)
    table.write(alarms.put, "a", "sts", "y", 7)
    assert table.write(alarms.everybodys) == [
        Alarm("a", "dns", "x", 6),
        Alarm("a", "sts", "y", 7),
        Alarm("b", "dns", "still no AD bit", 5),
    ]
    table.write(alarms.put, "b", "dns", "", 9)
    table.write(alarms.put, "c", "dns", "", 9)
    assert [one.node for one in table.write(alarms.everybodys)] == ["a", "a"]
