"""Prints who is online, as the topic account has it: reads the log from its
beginning to its present end and folds it. docs/EVENTS.md explains each step.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python -m grpc_tools.protoc -I ../../../schema/event --python_out=. event.proto
    venv/bin/python online.py localhost:9092

It follows sessions and their presence, and leaves out what only few need: see
"What the Python example leaves out" in docs/EVENTS.md.
"""

import json
import sys
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from kafka import KafkaConsumer, TopicPartition

import event_pb2

FIRST_KIND = 16  # lower field numbers are the envelope's own


@dataclass
class Session:
    binding: bytes  # the id of its ResourceBound
    edge: str
    epoch: int
    available: bool = False
    invisible: bool = False
    show: str = ""
    status: str = ""


class Marks:
    """Tells what is new from copies and latecomers, within one partition."""

    def __init__(self):
        self.newest = {}  # origin -> (sequence, index)
        self.lost = {}  # edge -> highest epoch that is over

    def admit(self, e):
        if not e.origin:  # EdgeLost alone has none; a second one changes nothing
            edge, epoch = e.edge_lost.edge, e.edge_lost.epoch
            self.lost[edge] = max(epoch, self.lost.get(edge, 0))
            return True
        if e.origin.startswith("edge/"):
            edge, _, epoch = e.origin[len("edge/"):].rpartition("/")
            if epoch.isdigit() and int(epoch) <= self.lost.get(edge, -1):
                return False
        place = (e.sequence, e.index)
        if place <= self.newest.get(e.origin, (-1, -1)):
            return False
        self.newest[e.origin] = place
        return True


class Partition:
    """What the records of one partition add up to."""

    def __init__(self):
        self.marks = Marks()
        self.accounts = {}  # bare JID -> {resource: Session}

    def apply(self, offset, key, value):
        e = event_pb2.Event()
        try:
            e.ParseFromString(value)
        except DecodeError:
            return  # nobody can read it: the projector has put it into dead-letter
        kind = e.WhichOneof("kind")
        if kind is None:
            if e.id and e.origin:  # of a version newer than this event.proto: to skip it would give another state
                raise SystemExit(f"offset {offset} is of a kind that this event.proto does not have: generate it anew")
            return
        if kind != "edge_lost" and (len(e.id) != 16 or not e.origin):
            return
        if not self.marks.admit(e):
            return
        what = getattr(e, kind)
        if kind == "edge_lost":  # has no key: it is for every account of the partition
            for sessions in self.accounts.values():
                for name in [n for n, s in sessions.items() if s.edge == what.edge and s.epoch <= what.epoch]:
                    del sessions[name]
            return
        name = key.decode()
        if kind == "account_created":
            self.accounts.setdefault(name, {})
            return
        if kind == "account_deleted":
            self.accounts.pop(name, None)
            return
        sessions = self.accounts.get(name)
        if sessions is None:
            return  # before an account is created and after it is deleted nothing counts
        if kind == "resource_bound":
            self.bound(sessions, e, what)
            return
        session = sessions.get(getattr(what, "resource", None))
        if session is None or session.binding != e.binding:
            return  # of a session that is over
        if kind == "resource_closed":
            del sessions[what.resource]
        elif kind == "presence_available":
            session.available, session.show, session.status = True, what.presence.show, what.presence.status
        elif kind == "presence_unavailable":
            session.available = False
        elif kind == "visibility_changed":
            if session.invisible and not what.invisible:
                session.available = False  # it says anew what it is
            session.invisible = what.invisible

    @staticmethod
    def bound(sessions, e, what):
        """Of a full JID only the latest binding counts."""
        was = sessions.get(what.resource)
        now = Session(e.id, what.edge, what.epoch)
        if what.resumes and was and was.binding != what.resumes:
            return  # it would go on with a session that is not the resource's last
        if was and was.available and (what.resumes or what.inherits and not was.invisible):
            now.available, now.show, now.status, now.invisible = True, was.show, was.status, was.invisible
        sessions[what.resource] = now

    def online(self):
        for account, sessions in self.accounts.items():
            for resource, s in sessions.items():
                if s.available and not s.invisible:
                    yield f"{account}/{resource} {s.show or 'available'} {json.dumps(s.status, ensure_ascii=False)}"


def main(brokers):
    consumer = KafkaConsumer(bootstrap_servers=brokers.split(","), enable_auto_commit=False)
    numbers = consumer.partitions_for_topic("account")
    if not numbers:
        raise SystemExit("there is no topic account")
    places = [TopicPartition("account", n) for n in sorted(numbers)]
    consumer.assign(places)
    first, ends = consumer.beginning_offsets(places), consumer.end_offsets(places)
    for p in places:
        if first[p] > 0:
            raise SystemExit(f"partition {p.partition} begins at {first[p]}: what was before is in ClickHouse, table events")
        consumer.seek(p, 0)
    partitions = {p: Partition() for p in places}
    while any(consumer.position(p) < ends[p] for p in places):
        for p, records in consumer.poll(timeout_ms=1000).items():
            for r in records:
                if r.offset < ends[p]:
                    partitions[p].apply(r.offset, r.key, r.value)
    consumer.close()
    for line in sorted(line for p in partitions.values() for line in p.online()):
        print(line)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "localhost:9092")
