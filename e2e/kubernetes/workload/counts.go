package main

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"sync"
)

// flow is the key of the packet counts.
type flow struct {
	Protocol string `json:"protocol"`
	Source   string `json:"source"`
	Mark     uint32 `json:"mark"`
}

// flowCount is one entry of the response to GET /counts: datagrams, or HTTP requests.
type flowCount struct {
	flow
	Count uint64 `json:"count"`
	Bytes uint64 `json:"bytes"`
}

// stream counts the numbered datagrams of one sender.
type stream struct {
	Stream     uint32 `json:"stream"`
	Distinct   uint64 `json:"distinct"`
	Duplicates uint64 `json:"duplicates"`
	Reordered  uint64 `json:"reordered"`
	// One more than the highest number: missing lower numbers are lost or still in flight.
	End     uint64 `json:"end"`
	Missing uint64 `json:"missing"`

	seen []uint64
}

// counts contains all counts of the workload.
type counts struct {
	mutex      sync.Mutex
	flows      map[flow]*flowCount
	streams    map[uint32]*stream
	foreign    uint64
	overflowed uint32
}

func (counts *counts) add(key flow, bytes int) {
	counts.mutex.Lock()
	defer counts.mutex.Unlock()
	if counts.flows == nil {
		counts.flows = map[flow]*flowCount{}
	}
	line := counts.flows[key]
	if line == nil {
		line = &flowCount{flow: key}
		counts.flows[key] = line
	}
	line.Count++
	line.Bytes += uint64(bytes)
}

// addNumbered also counts a numbered datagram in its stream, and returns whether it is numbered.
func (counts *counts) addNumbered(datagram []byte, overflowed uint32) bool {
	counts.mutex.Lock()
	defer counts.mutex.Unlock()
	counts.overflowed = max(counts.overflowed, overflowed)
	id, number, ok := decode(datagram)
	if !ok {
		counts.foreign++
		return false
	}
	if counts.streams == nil {
		counts.streams = map[uint32]*stream{}
	}
	if counts.streams[id] == nil {
		counts.streams[id] = &stream{Stream: id}
	}
	counts.streams[id].arrived(number)
	return true
}

func (stream *stream) arrived(number uint64) {
	word, bit := number/64, uint64(1)<<(number%64)
	if missing := int(word) + 1 - len(stream.seen); missing > 0 {
		stream.seen = append(stream.seen, make([]uint64, missing)...)
	}
	if stream.seen[word]&bit != 0 {
		stream.Duplicates++
		return
	}
	stream.seen[word] |= bit
	stream.Distinct++
	if number < stream.End {
		stream.Reordered++
	}
	stream.End = max(stream.End, number+1)
	stream.Missing = stream.End - stream.Distinct
}

func (counts *counts) reset() {
	counts.mutex.Lock()
	defer counts.mutex.Unlock()
	counts.flows, counts.streams, counts.foreign = nil, nil, 0
}

// MarshalJSON returns sorted lists, which are easy to read and to compare.
func (counts *counts) MarshalJSON() ([]byte, error) {
	counts.mutex.Lock()
	defer counts.mutex.Unlock()
	flows := slices.SortedFunc(maps.Values(counts.flows), func(a, b *flowCount) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Source, b.Source), cmp.Compare(a.Mark, b.Mark))
	})
	streams := slices.SortedFunc(maps.Values(counts.streams), func(a, b *stream) int {
		return cmp.Compare(a.Stream, b.Stream)
	})
	if flows == nil {
		flows = []*flowCount{}
	}
	if streams == nil {
		streams = []*stream{}
	}
	return json.Marshal(map[string]any{
		"flows": flows, "streams": streams, "foreign": counts.foreign, "overflowed": counts.overflowed,
	})
}
