package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"mios/internal/testkit"
	"mios/publish/repotest"
)

// TestServe serves with the keys, until it is told to stop. A port that is taken
// is no reason to take another one that nobody knows of.
func TestServe(t *testing.T) {
	keys := repotest.Keys(t)
	r := repotest.New(t, keys, "iot")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stderr bytes.Buffer
	e := env{stdin: strings.NewReader(""), stdout: io.Discard, stderr: &stderr}
	if code := run(ctx, e, []string{"serve", "--repo", r.Dir(), "--addr", taken.Addr().String()}); code != 1 || !strings.Contains(stderr.String(), taken.Addr().String()+": conflict: something listens there") {
		t.Fatalf("on a port that is taken: status %d, %s", code, stderr.String())
	}
	stdout, w := io.Pipe()
	stderr.Reset()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, env{stdin: strings.NewReader(""), stdout: w, stderr: &stderr}, []string{"serve", "--repo", r.Dir(), "--keys", keys.Dir(), "--addr", "127.0.0.1:0"})
		w.Close()
	}()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	m := regexp.MustCompile(`^serving .* at (http://127\.0\.0\.1:\d+/)\n$`).FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("it says %q", line)
	}
	for name, want := range map[string]string{"": "miOS repository", "metadata/timestamp.json": `"timestamp"`} {
		res, err := http.Get(m[1] + name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 || !strings.Contains(string(b), want) {
			t.Errorf("GET %s: %s, %v", name, res.Status, err)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	select {
	case code := <-done:
		if code != 0 {
			t.Errorf("status %d, %s", code, stderr.String())
		}
	case <-time.After(testkit.Patience):
		t.Fatal("it does not stop")
	}
}
