package serve

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"
)

// UseTLS makes a server speak TLS with the certificate and its key in two PEM
// files. When the files change, new connections get the new certificate; while
// the new one is no good, the one before is kept.
func UseTLS(srv *http.Server, certFile, keyFile string, log *slog.Logger) error {
	c := &certificate{cert: certFile, key: keyFile, log: log}
	if err := c.load(); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return c.get(), nil
	}}
	return nil
}

// A certificate is read again when its files change.
type certificate struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	good    *tls.Certificate
	stamps  [2]time.Time
	checked time.Time
}

// checkEvery is how often the files are looked at.
const checkEvery = 10 * time.Second

func (c *certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= checkEvery {
		c.checked = now
		if c.stamps != c.times() {
			if err := c.load(); err != nil {
				c.log.Error("the new certificate is no good: the one before is kept", "err", err)
			}
		}
	}
	return c.good
}

func (c *certificate) times() (t [2]time.Time) {
	for i, name := range []string{c.cert, c.key} {
		if fi, err := os.Stat(name); err == nil {
			t[i] = fi.ModTime()
		}
	}
	return t
}

// load reads the files.
func (c *certificate) load() error {
	c.stamps = c.times()
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err == nil {
		c.good = &pair
	}
	return err
}
