package serve_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

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

// TestProtocols asks by HTTP/1.1 and by HTTP/2, without TLS and with it.
func TestProtocols(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCert(t, cert, key, "first.example")
	log := slog.New(slog.DiscardHandler)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Proto) })
	for _, secure := range []bool{false, true} {
		l, _, err := serve.Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv, scheme := serve.NewServer(h, log), "http"
		if secure {
			scheme = "https"
			if err := serve.UseTLS(srv, cert, key, log); err != nil {
				t.Fatal(err)
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- serve.Run(ctx, srv, l) }()
		for _, want := range []string{"HTTP/1.1", "HTTP/2.0"} {
			var p http.Protocols
			p.SetHTTP1(want == "HTTP/1.1")
			p.SetHTTP2(want == "HTTP/2.0")
			p.SetUnencryptedHTTP2(want == "HTTP/2.0")
			tr := &http.Transport{Protocols: &p, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
			res, err := (&http.Client{Transport: tr}).Get(scheme + "://" + l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil || string(b) != want {
				t.Errorf("%s with %s: it says %q, %v", scheme, want, b, err)
			}
			if secure && res.TLS.PeerCertificates[0].DNSNames[0] != "first.example" {
				t.Errorf("the certificate is %v's", res.TLS.PeerCertificates[0].DNSNames)
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	}
	if err := serve.UseTLS(serve.NewServer(h, log), key, cert, log); err == nil {
		t.Error("UseTLS with the files in the wrong order worked")
	}
}

// writeCert makes a certificate for a name, signed by itself.
func writeCert(t *testing.T, certFile, keyFile, name string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
