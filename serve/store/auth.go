package store

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"mios/internal/recent"
)

// authenticate finds out who makes a request, and that their token allows one
// of some scopes.
func (s *Service) authenticate(r *http.Request, scopes ...Scope) (*Token, error) {
	c := r.Context().Value(callerKey{}).(*caller)
	if wait := s.guard.wait(c.remote); wait > 0 {
		return nil, &Problem{Status: http.StatusTooManyRequests, Title: "Too many bad tokens", after: int(wait/time.Second) + 1,
			Detail: "too many requests with bad tokens came from your address: wait as long as Retry-After says, and check the token"}
	}
	kind, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if secret == "" || !strings.EqualFold(kind, "Bearer") {
		return nil, &Problem{Status: http.StatusUnauthorized, Title: "No token", Detail: "send the header Authorization: Bearer TOKEN: the store's operator makes tokens with mios store token create"}
	}
	t, err := s.tokens.Check(r.Context(), strings.TrimSpace(secret))
	var bad errToken
	if errors.As(err, &bad) {
		s.guard.failed(c.remote)
		return nil, &Problem{Status: http.StatusUnauthorized, Title: "Bad token", Detail: bad.Error()}
	}
	if err != nil {
		return nil, err
	}
	c.token = t
	for _, scope := range scopes {
		if t.May(scope) {
			return t, nil
		}
	}
	return nil, &Problem{Status: http.StatusForbidden, Title: "Not allowed",
		Detail: "this needs a token with the scope " + joinOr(scopes) + ", and yours has " + joinScopes(t.Scopes) + ": ask the store's operator for another one"}
}

func joinOr(scopes []Scope) string {
	words := make([]string, len(scopes))
	for i, s := range scopes {
		words[i] = string(s)
	}
	return strings.Join(words, " or ")
}

// forPackage says that a token is not for a package.
func (t *Token) forPackage(pkg string) error {
	if t.For(pkg) {
		return nil
	}
	return &Problem{Status: http.StatusForbidden, Title: "Not allowed",
		Detail: "your token is for " + strings.Join(t.Packages, ", ") + " and not for " + pkg + ": ask the store's operator for another one"}
}

// forAll is the error of a token that is for some packages only.
func (t *Token) forAll() error {
	if len(t.Packages) == 0 {
		return nil
	}
	return t.forPackage("all packages")
}

// Limits of bad tokens.
const (
	maxBad    = 20 // from one address, before it has to wait
	badEvery  = 6 * time.Second
	maxRemote = 10_000 // addresses that are remembered
)

// A guard counts bad tokens by address: each fills a bucket that leaks one every
// badEvery.
type guard struct {
	now func() time.Time

	mu      sync.Mutex
	buckets recent.List[string, *bucket] // by address
}

type bucket struct {
	level float64
	at    time.Time
}

// leak lets a bucket leak until now.
func (b *bucket) leak(now time.Time) {
	b.level = max(b.level-float64(now.Sub(b.at))/float64(badEvery), 0)
	b.at = now
}

// wait returns for how long an address has to wait.
func (g *guard) wait(remote string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, ok := g.buckets.Peek(remote)
	if !ok {
		return 0
	}
	b.leak(g.now())
	if b.level < maxBad {
		return 0
	}
	return time.Duration((b.level - maxBad + 1) * float64(badEvery))
}

// failed counts a bad token.
func (g *guard) failed(remote string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, ok := g.buckets.Get(remote)
	if !ok {
		b = &bucket{at: g.now()}
		g.buckets.Put(remote, b)
		if g.buckets.Len() > maxRemote {
			oldest, _, _ := g.buckets.Oldest()
			g.buckets.Delete(oldest)
		}
	}
	b.leak(g.now())
	b.level = min(b.level+1, 2*maxBad)
}
