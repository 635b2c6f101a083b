// Package domain proves that who signs an app speaks for the domain in the
// app's name: org.example.clock for example.org. It asks the domain for the file
// that Android's app links use already, /.well-known/assetlinks.json (Digital
// Asset Links), which names packages with the SHA-256 of their certificates.
package domain

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"mios"
)

// Path is where a domain says which apps are its own.
const Path = "/.well-known/assetlinks.json"

// maxFile bounds that file, in bytes.
const maxFile = 256 << 10

// timeout is for how long a domain may take to answer.
const timeout = 10 * time.Second

// Of returns the domain that a package's name is under: its first two parts the
// other way round. What has fewer has none.
func Of(pkg string) string {
	parts := strings.Split(strings.ToLower(pkg), ".")
	if len(parts) < 2 || strings.Contains(parts[0]+parts[1], "_") {
		return ""
	}
	return parts[1] + "." + parts[0]
}

// Web asks domains over HTTPS. The zero value is ready for use.
type Web struct {
	// Client replaces the one that refuses redirects and addresses inside the
	// operator's own network.
	Client *http.Client
}

// Prove returns nil if the domain in a package's name says that one of the
// signers, by the SHA-256 of its certificate, may publish it. The error wraps
// [mios.ErrDenied] and says what the domain has to do.
func (w *Web) Prove(ctx context.Context, pkg string, signers []mios.Digest) error {
	host := Of(pkg)
	if host == "" {
		return fmt.Errorf("package %s: its name has no domain: %w", pkg, mios.ErrDenied)
	}
	b, err := w.get(ctx, "https://"+host+Path)
	if err == nil {
		err = names(b, pkg, signers)
	}
	if err != nil {
		return fmt.Errorf("package %s: %s does not vouch for its signer: %v: %w: name the package and the certificate in https://%s%s",
			pkg, host, err, mios.ErrDenied, host, Path)
	}
	return nil
}

func (w *Web) get(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	c := w.Client
	if c == nil {
		c = outside
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", res.Status)
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("the file has more than %d bytes", maxFile)
	}
	return b, err
}

// outside reaches public addresses only: a stranger chooses the name.
var outside = &http.Client{
	Transport: &http.Transport{
		DialContext:       (&net.Dialer{Timeout: timeout, Control: public}).DialContext,
		DisableKeepAlives: true,
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("it redirects, which proves nothing") },
}

func public(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if ip := a.Addr().Unmap(); !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return fmt.Errorf("its address %s is not a public one", ip)
	}
	return nil
}

// names looks for a package with one of the signers in a file of statements.
func names(b []byte, pkg string, signers []mios.Digest) error {
	var list []struct {
		Relation []string `json:"relation"`
		Target   struct {
			Namespace    string   `json:"namespace"`
			Package      string   `json:"package_name"`
			Fingerprints []string `json:"sha256_cert_fingerprints"`
		} `json:"target"`
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return fmt.Errorf("the file cannot be read: %v", err)
	}
	named := false
	for _, s := range list {
		if s.Target.Namespace != "android_app" || s.Target.Package != pkg {
			continue
		}
		named = true
		for _, f := range s.Target.Fingerprints {
			b, err := hex.DecodeString(strings.ReplaceAll(f, ":", ""))
			for _, d := range signers {
				if err == nil && string(b) == string(d[:]) {
					return nil
				}
			}
		}
	}
	if named {
		return errors.New("the file names the package with other certificates")
	}
	return errors.New("the file does not name the package")
}
