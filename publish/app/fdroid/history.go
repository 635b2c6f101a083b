package fdroid

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"mios"
	"mios/storage/tree"
)

// The pointers of the repository.
const (
	entryJARName   = Folder + "/entry.jar"
	entryJSONName  = Folder + "/entry.json"
	indexV1Name    = Folder + "/index-v1.jar"
	historyPointer = Folder + "/fdroid.json"
)

// keep is how many indexes lead to the newest one by a diff; and so long a
// client may take to fetch what an entry names.
const keep = 10

// A record is what there is of one time that the indexes were published.
type record struct {
	Time     int64 // milliseconds since 1970: what clients know an index by
	Packages int
	Index    File
	List     File
	Diffs    []string `json:",omitempty"` // names of the files that the entry names beside the index
}

// A history is what the next index is made from. It is the pointer that moves
// first, and decides between two who publish at once.
type history struct {
	Format  int         // 1
	Content mios.Digest // of all that the newest indexes say but their time
	// Pointers are the SHA-256 of what the others hold, by name.
	Pointers map[string]mios.Digest
	Records  []record // the newest first
	// Old are the files that no record names any more, the oldest first: clients
	// may still be fetching them.
	Old []oldFile `json:",omitempty"`
}

// An oldFile is one that is to be removed.
type oldFile struct {
	Name  string // in [Folder]
	Since int64  // milliseconds since 1970: when the last record went that named it
}

// How long, in milliseconds, and how many files stay that only old entries
// name.
const (
	keepOld = 3600_000
	maxOld  = 1000
)

// maxHistory bounds the pointer's size, in bytes.
const maxHistory = 1 << 20

// readHistory returns the history and its bytes, both nil before the first
// time.
func readHistory(ctx context.Context, t tree.Tree) (*history, []byte, error) {
	b, err := tree.ReadAll(ctx, t, historyPointer, maxHistory)
	switch {
	case errors.Is(err, mios.ErrNotFound):
		return &history{}, nil, nil
	case err != nil:
		return nil, nil, err
	}
	h := new(history)
	if err := json.Unmarshal(b, h); err != nil {
		return nil, nil, fmt.Errorf("%s: %w: %v", historyPointer, mios.ErrInvalid, err)
	}
	if h.Format != 1 {
		return nil, nil, fmt.Errorf("%s: format %d, want 1: %w: a newer program has written it: take that one", historyPointer, h.Format, mios.ErrInvalid)
	}
	return h, b, nil
}

// Published tells whether there are indexes in a tree.
func Published(ctx context.Context, t tree.Tree) (bool, error) {
	h, _, err := readHistory(ctx, t)
	return err == nil && len(h.Records) > 0, err
}

// newest returns the time of the newest index, 0 if there is none.
func (h *history) newest() int64 {
	if len(h.Records) == 0 {
		return 0
	}
	return h.Records[0].Time
}

// files returns the files that a record names.
func (r *record) files() []string { return append([]string{r.Index.Name, r.List.Name}, r.Diffs...) }

// sweep adds the files of records that were dropped at a time to the old ones,
// and returns those that have been there for long.
func (h *history) sweep(dropped []record, now int64) (remove []string) {
	used := map[string]bool{}
	for i := range h.Records {
		for _, name := range h.Records[i].files() {
			used[name] = true
		}
	}
	h.Old = slices.DeleteFunc(h.Old, func(f oldFile) bool { return used[f.Name] })
	for _, f := range h.Old {
		used[f.Name] = true
	}
	for i := range dropped {
		for _, name := range dropped[i].files() {
			if !used[name] {
				used[name] = true
				h.Old = append(h.Old, oldFile{name, now})
			}
		}
	}
	for len(h.Old) > 0 && (h.Old[0].Since+keepOld <= now || len(h.Old) > maxOld) {
		remove = append(remove, Folder+"/"+h.Old[0].Name)
		h.Old = h.Old[1:]
	}
	return remove
}
