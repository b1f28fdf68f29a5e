package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	udpPort  = 7777
	httpPort = 8080
	// Large enough for a burst on a busy machine.
	receiveBuffer = 8 << 20
	// Maximum of GET /bytes/N.
	mostBytes = 1 << 30
)

type markKey struct{}

func serve() error {
	pod, err := os.Hostname()
	if err != nil {
		return err
	}
	var counts counts
	socket, err := net.ListenUDP("udp", &net.UDPAddr{Port: udpPort})
	if err != nil {
		return err
	}
	if err := prepare(socket); err != nil {
		return err
	}
	server := http.Server{
		Addr:    fmt.Sprint(":", httpPort),
		Handler: pages(pod, &counts),
		// A connection has the mark of its first packet if net.ipv4.tcp_fwmark_accept is 1.
		ConnContext: func(ctx context.Context, connection net.Conn) context.Context {
			return context.WithValue(ctx, markKey{}, acceptedMark(connection))
		},
	}
	failed := make(chan error, 2)
	go func() { failed <- receive(socket, pod, &counts) }()
	go func() { failed <- server.ListenAndServe() }()
	log.Printf("serving UDP on :%d and HTTP on :%d", udpPort, httpPort)
	select {
	case err := <-failed:
		return err
	case <-stopped():
		return nil
	}
}

// prepare enables the mark of each datagram (SO_RCVMARK, Linux 5.19) and the count of overflowed ones.
func prepare(socket *net.UDPConn) error {
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = errors.Join(
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVMARK, 1),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1))
		// Exceeding the machine's limit requires a privilege that pods do not have.
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
	})
	return errors.Join(err, failed)
}

// receive counts numbered datagrams, and responds to all others.
func receive(socket *net.UDPConn, pod string, counts *counts) error {
	buffer, control := make([]byte, 65536), make([]byte, 256)
	for {
		length, controlLength, _, from, err := socket.ReadMsgUDPAddrPort(buffer, control)
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			// A network error, such as an earlier response that was refused.
			continue
		}
		mark, overflowed := readControl(control[:controlLength])
		counts.add(flow{"UDP", from.Addr().Unmap().String(), mark}, length)
		if !counts.addNumbered(buffer[:length], overflowed) {
			_, _ = socket.WriteToUDPAddrPort([]byte(hello(pod, from.String(), mark)), from)
		}
	}
}

// readControl reads the control messages of one datagram.
func readControl(control []byte) (mark, overflowed uint32) {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return 0, 0
	}
	for _, message := range messages {
		if message.Header.Level != unix.SOL_SOCKET || len(message.Data) < 4 {
			continue
		}
		switch message.Header.Type {
		case unix.SO_MARK:
			mark = binary.NativeEndian.Uint32(message.Data)
		case unix.SO_RXQ_OVFL:
			overflowed = binary.NativeEndian.Uint32(message.Data)
		}
	}
	return mark, overflowed
}

func acceptedMark(connection net.Conn) uint32 {
	tcp, ok := connection.(*net.TCPConn)
	if !ok {
		return 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	mark := 0
	if raw.Control(func(fd uintptr) { mark, err = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK) }) != nil || err != nil {
		return 0
	}
	return uint32(mark)
}

func pages(pod string, counts *counts) http.Handler {
	pages := http.NewServeMux()
	// These three are not counted: probes and tests use them.
	pages.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	pages.HandleFunc("GET /counts", func(answer http.ResponseWriter, _ *http.Request) {
		answer.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(answer).Encode(counts)
	})
	pages.HandleFunc("POST /reset", func(http.ResponseWriter, *http.Request) { counts.reset() })

	counted := func(request *http.Request) uint32 {
		mark, _ := request.Context().Value(markKey{}).(uint32)
		counts.add(flow{"TCP", address(request.RemoteAddr), mark}, 0)
		return mark
	}
	pages.HandleFunc("GET /", func(answer http.ResponseWriter, request *http.Request) {
		fmt.Fprint(answer, hello(pod, request.RemoteAddr, counted(request)))
	})
	pages.HandleFunc("GET /bytes/{count}", func(answer http.ResponseWriter, request *http.Request) {
		count, err := strconv.Atoi(request.PathValue("count"))
		if err != nil || count < 0 || count > mostBytes {
			http.Error(answer, "not a number of bytes", http.StatusBadRequest)
			return
		}
		counted(request)
		answer.Header().Set("Content-Length", strconv.Itoa(count))
		for block := make([]byte, 64<<10); count > 0; count -= len(block) {
			block = block[:min(len(block), count)]
			if _, err := answer.Write(block); err != nil {
				return
			}
		}
	})
	// Sends one line after the other until the client closes the connection.
	pages.HandleFunc("GET /lines", func(answer http.ResponseWriter, request *http.Request) {
		counted(request)
		for number := 0; request.Context().Err() == nil; number++ {
			fmt.Fprintln(answer, number)
			if http.NewResponseController(answer).Flush() != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	return pages
}

func hello(pod, client string, mark uint32) string {
	return fmt.Sprintf("hello from %s to %s, mark %d\n", pod, address(client), mark)
}

// address returns the client's address without its port.
func address(client string) string {
	parsed, err := netip.ParseAddrPort(client)
	if err != nil {
		return client
	}
	return parsed.Addr().Unmap().String()
}
