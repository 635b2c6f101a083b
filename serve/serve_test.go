package serve_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"

	"mios/serve"
)

func TestListenMoves(t *testing.T) {
	t.Parallel()
	taken, moved, err := serve.Listen("127.0.0.1:0")
	if err != nil || moved {
		t.Fatalf("Listen on any port = moved %v, %v", moved, err)
	}
	defer taken.Close()
	l, moved, err := serve.Listen(taken.Addr().String())
	if err != nil || !moved {
		t.Fatalf("Listen on a taken port = moved %v, %v; want another one", moved, err)
	}
	defer l.Close()
	if host, _, _ := net.SplitHostPort(l.Addr().String()); host != "127.0.0.1" {
		t.Errorf("it moved to %v, want the same host", l.Addr())
	}
	if _, _, err := serve.Listen("127.0.0.1:none"); err == nil {
		t.Error("Listen on port none worked")
	}
}

// TestRun ends a server while it answers: the answer still comes.
func TestRun(t *testing.T) {
	t.Parallel()
	l, _, err := serve.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		stop()
		io.WriteString(w, "bye")
	})
	done := make(chan error, 1)
	go func() { done <- serve.Run(ctx, serve.NewServer(h, slog.New(slog.DiscardHandler)), l) }()
	tr := &http.Transport{DisableKeepAlives: true}
	res, err := (&http.Client{Transport: tr}).Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if b, err := io.ReadAll(res.Body); string(b) != "bye" || err != nil {
		t.Errorf("the answer is %q, %v", b, err)
	}
	if err := <-done; err != nil {
		t.Errorf("Run = %v", err)
	}
	if err := serve.Run(t.Context(), serve.NewServer(h, slog.New(slog.DiscardHandler)), l); err == nil {
		t.Error("Run on a closed listener worked")
	}
}
