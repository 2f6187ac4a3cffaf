package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Limits of a service's HTTP servers. Slow or large headers end the
// connection; shutdown waits for answers that are under way.
const (
	headerTimeout   = 5 * time.Second
	idleTimeout     = 2 * time.Minute
	maxHeader       = 32 << 10
	shutdownTimeout = 5 * time.Second
)

// Face is what a service shows to its own machine.
type Face struct {
	Address string       // loopback
	Ready   http.Handler // GET /readyz: whether the service could do its work now
	Metrics http.Handler // GET /metrics
}

// Health serves a service's face, and GET /healthz (the process lives), until
// ctx ends. It refuses to listen on anything but a loopback address.
func Health(ctx context.Context, face Face) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", face.Address)
	if err != nil {
		return fmt.Errorf("listening for health checks: %w", err)
	}
	if tcp, ok := listener.Addr().(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return errors.Join(ErrNotLoopback, listener.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"status":"alive"}`+"\n")
	})
	mux.Handle("GET /readyz", face.Ready)
	mux.Handle("GET /metrics", face.Metrics)
	return Serve(ctx, listener, mux)
}

// ErrNotLoopback says that a health address could be reached from outside.
var ErrNotLoopback = errors.New("the health address is not a loopback address")

// Serve serves handler on listener (plain or TLS) until ctx ends, then lets
// answers under way finish. It closes the listener.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		// The handler answers "OPTIONS *" like all else.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serving on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	// ctx is over: the shutdown needs a life of its own.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(end); err != nil {
		_ = server.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving on %s: %w", listener.Addr(), err)
	}
	return ctx.Err()
}
