package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// Slow enough for any receiver.
const defaultPerSecond = 5000

func get(url string) error {
	client := http.Client{Timeout: 5 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(os.Stdout, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", answer.Status)
	}
	return nil
}

// send ADDRESS:PORT COUNT [PER-SECOND]
func send(arguments []string) error {
	count, err := strconv.ParseUint(arguments[1], 10, 64)
	if err != nil {
		return err
	}
	perSecond := uint64(defaultPerSecond)
	if len(arguments) > 2 {
		if perSecond, err = strconv.ParseUint(arguments[2], 10, 64); err != nil || perSecond == 0 {
			return fmt.Errorf("%q is not a number of datagrams per second", arguments[2])
		}
	}
	socket, err := net.Dial("udp", arguments[0])
	if err != nil {
		return err
	}
	defer socket.Close()
	// The lab's senders number their streams from 0.
	stream := rand.Uint32() | 1<<31
	refused, start := 0, time.Now()
	for number := range count {
		time.Sleep(time.Until(start.Add(time.Duration(number) * time.Second / time.Duration(perSecond))))
		// The error is from an earlier datagram (port unreachable) or a missing route: the next datagram may arrive.
		if _, err := socket.Write(encode(stream, number)); err != nil {
			refused++
		}
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"source": socket.LocalAddr().String(), "stream": stream, "sent": count, "refused": refused,
	})
}
