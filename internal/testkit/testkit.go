// Package testkit is what the tests of several packages need: a buffer that a
// program writes to while a test reads, and keys. Only tests import it.
package testkit

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience bounds how long [Buffer.Wait] waits: much longer than anything takes
// on a busy machine.
const Patience = time.Minute

// A Buffer collects what others write, several at once. The zero value is ready.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements [io.Writer].
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns all that was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Wait waits until a text was written, and returns all that was so far. It ends
// the test if the text does not come.
func (b *Buffer) Wait(tb testing.TB, text string) string {
	tb.Helper()
	for deadline := time.Now().Add(Patience); ; {
		s := b.String()
		if strings.Contains(s, text) {
			return s
		}
		if time.Now().After(deadline) {
			tb.Fatalf("no %q in:\n%s", text, s)
		}
		time.Sleep(10 * time.Millisecond) // between two looks at what another process does
	}
}

var keys struct {
	mu   sync.Mutex
	made map[int]*rsa.PrivateKey
}

// RSA returns the n-th of this process's RSA keys of 2048 bits. Each is made
// once, for that takes a while.
func RSA(n int) *rsa.PrivateKey {
	keys.mu.Lock()
	defer keys.mu.Unlock()
	if k := keys.made[n]; k != nil {
		return k
	}
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // there is no randomness: no test can go on
	}
	if keys.made == nil {
		keys.made = map[int]*rsa.PrivateKey{}
	}
	keys.made[n] = k
	return k
}
