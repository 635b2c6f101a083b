package inspect

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"mios/format/chunks"
	"mios/internal/progress"
	"mios/internal/readat"
)

// chunksIndex tells of an index of chunks.
func (s *scan) chunksIndex(in *input, r *Report) error {
	root, err := readRoot(in, in.size)
	if err != nil {
		return err
	}
	r.Version = "1"
	r.fact("chunks", "%s to %s, usually %s", progress.Size(int64(root.Cutter.Min)), progress.Size(int64(root.Cutter.Max)), progress.Size(int64(root.Cutter.Avg)))
	r.fact("pack", "%s", progress.Size(root.PackSize))
	n := 0
	for i := range root.Partitions {
		p := &root.Partitions[i]
		here := 0
		for _, g := range p.Regions {
			here += g.Chunks
		}
		n += here
		r.part(&Report{Name: p.Name, Kind: "partition", Title: "partition", Size: p.Size, Summary: count(here, "chunk")})
	}
	r.Summary = fmt.Sprintf("%s, %s", count(len(root.Partitions), "partition"), count(n, "chunk"))
	if want := root.IndexSize(); want != in.size {
		r.say(Error, "fetch it again, or make it anew: mios ota adaptive", "it should have %s, and has %s", progress.Size(want), progress.Size(in.size))
		return nil
	}
	if err := root.Verify(s.ctx, in, nil, nil); err != nil {
		return err
	}
	r.done("hashes of all parts, by those in the root")
	return nil
}

// chunksPack tells of the chunks themselves, by the index that lies beside them.
func (s *scan) chunksPack(in *input, r *Report) error {
	if in.path == "" {
		return alone(r)
	}
	index, size, err := readat.Open(strings.TrimSuffix(in.path, ".pack") + ".index")
	if errors.Is(err, fs.ErrNotExist) {
		return alone(r)
	}
	if err != nil {
		return err
	}
	defer index.Close()
	root, err := readRoot(index, size)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(index.Name()), err)
	}
	if root.PackSize != in.size {
		r.say(Error, "fetch it again, or make both anew: mios ota adaptive", "it should have %s, as %s says, and has %s",
			progress.Size(root.PackSize), filepath.Base(index.Name()), progress.Size(in.size))
		return nil
	}
	if !s.afford(unpacking * in.size) {
		r.skipped("the chunks, "+progress.Size(in.size), why)
		return nil
	}
	if err := root.Verify(s.ctx, index, in, s.progress(in.base())); err != nil {
		return err
	}
	r.done("every chunk, by %s", filepath.Base(index.Name()))
	return nil
}

// alone tells of a pack that nothing is known of.
func alone(r *Report) error {
	r.skipped("the chunks", "only the index says what they are, which is not beside it")
	return nil
}

// unpacking is how many times as long as hashing a byte it takes to unpack one.
const unpacking = 16

// readRoot reads the root that an index begins with.
func readRoot(index io.ReaderAt, size int64) (*chunks.Root, error) {
	b := make([]byte, min(size, chunks.MaxRoot))
	if err := readat.Full(index, b, 0); err != nil {
		return nil, err
	}
	root, _, err := chunks.ReadRoot(b)
	return root, err
}

// isChunksPack says whether an input is a pack of chunks, by its name: it begins
// with a chunk, which may be anything.
func isChunksPack(in *input) bool {
	return strings.HasSuffix(in.base(), chunks.PackFile)
}
