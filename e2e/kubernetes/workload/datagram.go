package main

import "encoding/binary"

// Numbered datagrams start with a magic, the sender's stream and the number in the stream, as the lab's UdpSender writes
// them (e2e/lab/src/udp.rs).
const magic = "xlab"

const headerLen = 16

func encode(stream uint32, number uint64) []byte {
	datagram := []byte(magic)
	datagram = binary.BigEndian.AppendUint32(datagram, stream)
	return binary.BigEndian.AppendUint64(datagram, number)
}

func decode(datagram []byte) (stream uint32, number uint64, ok bool) {
	if len(datagram) < headerLen || string(datagram[:4]) != magic {
		return 0, 0, false
	}
	return binary.BigEndian.Uint32(datagram[4:8]), binary.BigEndian.Uint64(datagram[8:headerLen]), true
}
