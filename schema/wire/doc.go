// Package wire is what edges and fan-out workers say to each other, generated
// from wire.proto: an edge tells whom its sessions follow, a worker what they
// must hear.
package wire
