package main

import "testing"

func arrivals(numbers ...uint64) *stream {
	var stream stream
	for _, number := range numbers {
		stream.arrived(number)
	}
	return &stream
}

func TestGapsAreMissingAndDuplicatesAreNotDistinct(t *testing.T) {
	got := arrivals(0, 1, 4, 1, 130)
	if got.Distinct != 4 || got.Duplicates != 1 || got.Missing != 127 || got.End != 131 || got.Reordered != 0 {
		t.Errorf("%+v", got)
	}
}

func TestWhatComesLateIsReorderedAndNoLongerMissing(t *testing.T) {
	got := arrivals(0, 2, 1)
	if got.Reordered != 1 || got.Missing != 0 {
		t.Errorf("%+v", got)
	}
}

func TestADatagramOfTheLabIsDecoded(t *testing.T) {
	datagram := append([]byte("xlab\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x01\x02"), make([]byte, 100)...)
	stream, number, ok := decode(datagram)
	if !ok || stream != 7 || number != 258 {
		t.Error(stream, number, ok)
	}
	if string(encode(7, 258)) != string(datagram[:headerLen]) {
		t.Error("encode is not the inverse")
	}
	if _, _, ok := decode([]byte("xlab, but short")); ok {
		t.Error("too short for a number")
	}
}
