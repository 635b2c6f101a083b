package serve

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// UseTLS makes a server speak TLS with the certificate and its key in two PEM
// files. When the files change, new connections get the new certificate; while
// the new one is no good, the one before is kept.
func UseTLS(srv *http.Server, certFile, keyFile string, log *slog.Logger) error {
	return useTLS(srv, certFile, keyFile, log, checkEvery)
}

func useTLS(srv *http.Server, certFile, keyFile string, log *slog.Logger, every time.Duration) error {
	c := &certificate{cert: certFile, key: keyFile, log: log, every: every}
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
	every     time.Duration // the files are looked at

	mu      sync.Mutex
	good    *tls.Certificate
	stamps  [2]stamp
	checked time.Time
}

// checkEvery is how often the files are looked at.
const checkEvery = 10 * time.Second

// A stamp tells one state of a file from another. The zero value is that of no
// file.
type stamp struct {
	time, size int64
	file       uint64 // inode: a new file may have been written in the same moment
}

func (c *certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= c.every {
		c.checked = now
		if c.stamps != c.look() {
			if err := c.load(); err != nil {
				c.log.Error("the new certificate is no good: the one before is kept", "err", err)
			} else {
				c.log.Info("the certificate is a new one", "file", c.cert, "until", c.good.Leaf.NotAfter.UTC().Format(time.RFC3339))
			}
		}
	}
	return c.good
}

// look says in which state the files are.
func (c *certificate) look() (list [2]stamp) {
	for i, name := range []string{c.cert, c.key} {
		if fi, err := os.Stat(name); err == nil {
			list[i] = stamp{time: fi.ModTime().UnixNano(), size: fi.Size()}
			if st, ok := fi.Sys().(*syscall.Stat_t); ok {
				list[i].file = st.Ino
			}
		}
	}
	return list
}

// load reads the files.
func (c *certificate) load() error {
	c.stamps = c.look()
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err == nil {
		c.good = &pair
	}
	return err
}
