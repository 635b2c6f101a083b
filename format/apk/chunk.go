package apk

import "encoding/binary"

// Types of chunks: AOSP's RES_* (androidfw/ResourceTypes.h).
const (
	chunkStringPool    = 0x0001
	chunkTable         = 0x0002
	chunkXML           = 0x0003
	chunkStartNS       = 0x0100
	chunkEndNS         = 0x0101
	chunkStartElem     = 0x0102
	chunkEndElem       = 0x0103
	chunkText          = 0x0104
	chunkResourceMap   = 0x0180
	chunkPackage       = 0x0200
	chunkType          = 0x0201
	chunkTypeSpec      = 0x0202
	chunkLibrary       = 0x0203
	chunkOverlayable   = 0x0204
	chunkOverlayPolicy = 0x0205
	chunkStagedAlias   = 0x0206

	chunkHeader = 8 // type, header's size, size
)

// A chunk is where one lies in a file: AOSP's ResChunk_header.
type chunk struct {
	kind, header, off, end int
}

// readChunk reads the header of the chunk at off in b. It ends before end.
func readChunk(b []byte, off, end int) (chunk, error) {
	if end-off < chunkHeader {
		return chunk{}, bad(int64(off), "chunk header: %d bytes left, want %d", end-off, chunkHeader)
	}
	le := binary.LittleEndian
	kind, header, n := int(le.Uint16(b[off:])), int(le.Uint16(b[off+2:])), le.Uint32(b[off+4:])
	if int64(n) > int64(end-off) || header > int(n) || header < chunkHeader || n%4 != 0 {
		return chunk{}, bad(int64(off), "chunk %#x: header of %d, size of %d, but %d bytes left", kind, header, n, end-off)
	}
	return chunk{kind, header, off, off + int(n)}, nil
}

// appendChunk appends the header of a chunk.
func appendChunk(b []byte, kind, header, size int) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(kind))
	b = binary.LittleEndian.AppendUint16(b, uint16(header))
	return binary.LittleEndian.AppendUint32(b, uint32(size))
}
