package chunks

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sort"
)

// An Opener brings length bytes of a file from offset on, for the caller to
// close.
type Opener func(ctx context.Context, offset, length int64) (io.ReadCloser, error)

// gap is how many bytes of the pack are rather fetched and thrown away than
// asked around.
const gap = 4 << 10

// maxRun bounds what one request for the pack brings, in bytes.
const maxRun = 1 << 20

// A Plan says where each chunk of a release is to be had.
type Plan struct {
	root  *Root
	seeds *Seeds
	steps [][]step // of each partition
	runs  []Span   // of the pack, in the order of their use

	Index int64 // bytes of the index that were fetched, the root not counted
	Fetch int64 // bytes of the pack to be fetched
	Keep  int64 // bytes of partitions that are there already
}

// Requests is how many requests the plan's fetching takes.
func (p *Plan) Requests() int { return len(p.runs) }

// A source is where a step has its chunk from.
type source uint8

const (
	fromPack source = iota
	fromSeed
	fromTarget // an earlier place of the partitions that are made
	fromZeros
	fromHere // it is there
)

// A step makes one chunk of a partition.
type step struct {
	off    int64
	chunk  Chunk
	from   source
	part   int32 // fromTarget: the partition
	srcOff int64 // fromTarget
}

// Plan says what to do: seeds are what the device has, there what the
// partitions to be written hold already; either may be nil. Parts of the index
// are fetched as they are needed.
func (r *Root) Plan(ctx context.Context, seeds, there *Seeds, index Opener) (*Plan, error) {
	if seeds == nil {
		seeds = &Seeds{}
	}
	if there == nil {
		there = &Seeds{}
	}
	p := &Plan{root: r, seeds: seeds, steps: make([][]step, len(r.Partitions))}
	lists, err := p.lists(ctx, index)
	if err != nil {
		return nil, err
	}
	made := map[ID]ref{} // what is in the target once the steps so far are done; chunk is the step
	for i := range r.Partitions {
		part := &r.Partitions[i]
		here := there.of(part.Name)
		spans := part.Spans()
		for j, c := range lists[i] {
			at, size := spans[0].Offset, int64(c.Size)
			if size > spans[0].Size {
				return nil, fmt.Errorf("chunks: partition %s: %w", part.Name, &FormatError{"part", 0, fmt.Sprintf("a chunk of %d bytes at %d ends behind what is cut", c.Size, at)})
			}
			p.steps[i] = append(p.steps[i], p.step(at, c, here, made))
			if _, ok := made[c.ID]; !ok {
				made[c.ID] = ref{int32(i), int32(j)}
			}
			spans = behind(spans, size)
		}
	}
	return p, nil
}

// step decides where a chunk comes from.
func (p *Plan) step(at int64, c Chunk, here []place, made map[ID]ref) step {
	s := step{off: at, chunk: c}
	if i, ok := search(here, at); ok && here[i].id == c.ID && int(here[i].size) == c.Size {
		s.from = fromHere
		p.Keep += int64(c.Size)
		return s
	}
	if c.Zero() {
		s.from = fromZeros
		return s
	}
	if _, _, ok := p.seeds.find(c.ID, c.Size); ok {
		s.from = fromSeed
		return s
	}
	if m, ok := made[c.ID]; ok && p.steps[m.seed][m.chunk].chunk.Size == c.Size {
		s.from, s.part, s.srcOff = fromTarget, m.seed, p.steps[m.seed][m.chunk].off
		return s
	}
	p.fetch(Span{c.Pack, int64(c.Packed)})
	return s
}

// fetch adds a chunk to the runs.
func (p *Plan) fetch(s Span) {
	if n := len(p.runs); n > 0 {
		last := &p.runs[n-1]
		end := last.Offset + last.Size
		if s.Offset >= end && s.Offset-end <= gap && s.Offset+s.Size-last.Offset <= maxRun {
			p.Fetch += s.Offset + s.Size - end
			last.Size = s.Offset + s.Size - last.Offset
			return
		}
	}
	p.runs = append(p.runs, s)
	p.Fetch += s.Size
}

// A need is a region whose part must be fetched.
type need struct {
	part, region int
	span         Span // of the index
}

// lists returns the chunks of each partition: from the seeds where they have
// them in the same order at the same place, and else from the index.
func (p *Plan) lists(ctx context.Context, index Opener) ([][]Chunk, error) {
	regions := make([][][]Chunk, len(p.root.Partitions))
	var needs []need
	at := p.root.size
	for i := range p.root.Partitions {
		part := &p.root.Partitions[i]
		mine, places := p.seeds.of(part.Name), placesOf(part)
		regions[i] = make([][]Chunk, len(part.Regions))
		for j := range part.Regions {
			g := &part.Regions[j]
			if regions[i][j] = same(mine, places[j], g); regions[i][j] == nil {
				needs = append(needs, need{i, j, Span{at, g.PartSize}})
				p.Index += g.PartSize
			}
			at += g.PartSize
		}
	}
	for len(needs) > 0 {
		n := 1
		for n < len(needs) && needs[n].span.Offset == needs[n-1].span.Offset+needs[n-1].span.Size {
			n++
		}
		if err := p.parts(ctx, needs[:n], index, regions); err != nil {
			return nil, err
		}
		needs = needs[n:]
	}
	lists := make([][]Chunk, len(regions))
	for i := range regions {
		lists[i] = slices.Concat(regions[i]...)
	}
	return lists, nil
}

// parts fetches parts that lie one behind the other.
func (p *Plan) parts(ctx context.Context, needs []need, index Opener, regions [][][]Chunk) error {
	last := needs[len(needs)-1].span
	body, err := index(ctx, needs[0].span.Offset, last.Offset+last.Size-needs[0].span.Offset)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	defer body.Close()
	for _, n := range needs {
		b := make([]byte, n.span.Size)
		if _, err := io.ReadFull(body, b); err != nil {
			return fmt.Errorf("index: %w", err)
		}
		part := &p.root.Partitions[n.part]
		if regions[n.part][n.region], err = p.root.ParsePart(&part.Regions[n.region], b); err != nil {
			return fmt.Errorf("partition %s, region %d: %w", part.Name, n.region, err)
		}
	}
	return nil
}

// placesOf returns the offset of each of the partition's regions.
func placesOf(part *Partition) []int64 {
	var out []int64
	spans := part.Spans()
	for i := range part.Regions {
		out = append(out, spans[0].Offset)
		spans = behind(spans, part.Regions[i].Size)
	}
	return out
}

// behind returns what of the spans comes behind their first n bytes; the last
// one stays when nothing is left of it.
func behind(spans []Span, n int64) []Span {
	for len(spans) > 1 && n >= spans[0].Size {
		n -= spans[0].Size
		spans = spans[1:]
	}
	spans[0].Offset += n
	spans[0].Size -= n
	return spans
}

// same returns the chunks that lie at the offset, if they are the region's.
func same(mine []place, off int64, g *Region) []Chunk {
	i, ok := search(mine, off)
	if !ok || len(mine)-i < g.Chunks {
		return nil
	}
	list := make([]Chunk, g.Chunks)
	for j := range list {
		list[j] = Chunk{Size: int(mine[i+j].size), ID: mine[i+j].id}
	}
	if Sequence(list) != g.Sequence {
		return nil
	}
	return list
}

// search finds the place at an offset.
func search(list []place, off int64) (int, bool) {
	i := sort.Search(len(list), func(i int) bool { return list[i].off >= off })
	return i, i < len(list) && list[i].off == off
}

// of returns the chunks of the seed of that name.
func (s *Seeds) of(name string) []place {
	for i := range s.list {
		if s.list[i].Name == name {
			return s.chunks[i]
		}
	}
	return nil
}
