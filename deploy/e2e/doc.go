// Package e2e drives the real binary: `rollcall dev` with two edges, two
// fan-out workers and two projectors as separate processes, on each Kafka, and
// some two dozen clients on real sockets. While they change presence and write
// to each other, processes are killed and engines stopped; afterwards what
// every client sees must be the fold of the log, as must be what Postgres and
// ClickHouse hold, and every acknowledged message must have arrived.
//
// There are only tests here. The folder demo tells the same to people.
package e2e
