package apksig

import (
	"context"
	"maps"
)

// An ahead is the digesting of the package while its signatures are still being
// read: nothing depends on it but the time that all of it takes.
type ahead struct {
	done   chan struct{}
	cancel context.CancelFunc
	sums   map[digestKind][]byte // nil: it did not come to its end
}

// lookAhead begins to digest the package in the ways that its signatures will
// ask for, as far as that can be told by now. The caller must call v.stop.
func (v *verifier) lookAhead(ctx context.Context) {
	kinds := make(map[digestKind]bool)
	if v.most >= sdkV31 {
		v.guess(blockV31, kinds)
	}
	if v.most >= sdkV3 {
		v.guess(blockV3, kinds)
	}
	if v.most >= sdkV2 && (v.least < sdkV3 || len(kinds) == 0) {
		v.guess(blockV2, kinds)
	}
	if len(kinds) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &ahead{done: make(chan struct{}), cancel: cancel}
	v.ahead = a
	go func() {
		defer close(a.done)
		if sums, err := v.s.digests(ctx, kinds); err == nil { // what fails is done once more when it is needed
			a.sums = sums
		}
	}()
}

// stop ends what lookAhead began.
func (v *verifier) stop() {
	if v.ahead != nil {
		v.ahead.cancel()
		<-v.ahead.done
		v.ahead = nil
	}
}

// guess adds the way of digesting that the first signer in a block asks for, if
// it is one in chunks.
func (v *verifier) guess(id uint32, kinds map[digestKind]bool) {
	block, ok := v.s.pair(id)
	if !ok {
		return
	}
	signers := &cursor{b: block}
	signer := signers.sub().sub()
	data := signer.sub()
	records, ok := readRecords(data.sub())
	if !ok {
		return
	}
	for _, r := range strongest(records, max(v.least, sdkV2), v.most) {
		if r.alg.digest != veritySHA256 {
			kinds[r.alg.digest] = true
		}
	}
}

// packageDigests returns the package's digests of those kinds, each of which is
// computed only once.
func (v *verifier) packageDigests(ctx context.Context, kinds map[digestKind]bool) (map[digestKind][]byte, error) {
	if v.ahead != nil {
		<-v.ahead.done
		v.ahead.cancel()
		v.sums, v.ahead = v.ahead.sums, nil
	}
	missing := maps.Clone(kinds)
	maps.DeleteFunc(missing, func(kind digestKind, _ bool) bool { return v.sums[kind] != nil })
	if len(missing) == 0 {
		return v.sums, nil
	}
	more, err := v.s.digests(ctx, missing)
	if err != nil {
		return nil, err
	}
	if v.sums == nil {
		v.sums = make(map[digestKind][]byte)
	}
	maps.Copy(v.sums, more)
	return v.sums, nil
}
