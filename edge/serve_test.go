package edge_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rollcall/rollcall/edge/edgetest"
)

// A process may have no more files open than the benchmarks need sockets, so
// their clients live in a process of their own: the test's binary again.
const clientsEnv = "EDGE_TEST_CLIENTS" // "address count tls|wss|plain quiet|online"

// serveClients is main of that process. It tells whether it was one.
func serveClients() bool {
	what := strings.Fields(os.Getenv(clientsEnv))
	if len(what) != 4 {
		return false
	}
	n, err := strconv.Atoi(what[1])
	if err != nil {
		panic(err)
	}
	var wg sync.WaitGroup
	todo := make(chan int)
	for range 16 {
		wg.Go(func() {
			for i := range todo {
				o := edgetest.ClientOptions{
					Address: what[0], User: fmt.Sprintf("user%d", i), Resource: "r",
					Dialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i/5000))}},
				}
				if o.Web = what[2] == "wss"; o.Web || what[2] == "tls" {
					o.TLS = &tls.Config{InsecureSkipVerify: true}
				}
				c, err := edgetest.Dial(o)
				if err != nil {
					panic(err)
				}
				if what[3] == "online" {
					if err := c.Send("<presence/>"); err != nil {
						panic(err)
					}
				}
				go io.Copy(io.Discard, c.Conn)
			}
		})
	}
	for i := range n {
		todo <- i
	}
	close(todo)
	wg.Wait()
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	return true
}

// clients starts n of them; they end with the benchmark.
func clients(b *testing.B, address string, n int, tls, online string) {
	b.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), clientsEnv+"="+fmt.Sprintf("%s %d %s %s", address, n, tls, online))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		b.Fatal(line, err)
	}
}
