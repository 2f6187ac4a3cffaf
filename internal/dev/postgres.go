package dev

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"

	"github.com/countersign/countersign/internal/cluster"
	"github.com/countersign/countersign/internal/config"
	"github.com/countersign/countersign/internal/database"
)

// databaseName is the database of a development deployment.
const databaseName = cluster.DefaultDatabase

// startPostgres runs the private server in the deployment's folder. Where the
// launcher is root, the server runs under another uid, which may not be able
// to reach the folder: then its data lies elsewhere and a link says where.
func (r runner) startPostgres(ctx context.Context, port uint16) (*cluster.Cluster, error) {
	options := cluster.Options{Durable: true, Port: int(port)}
	dir := r.layout.postgres()
	if target, err := os.Readlink(dir); err == nil {
		return cluster.Start(ctx, target, options)
	}
	c, err := cluster.Start(ctx, dir, options)
	if !errors.Is(err, cluster.ErrUnreachable) {
		return c, err
	}
	if err := os.Remove(dir); err != nil {
		return nil, err
	}
	for _, parent := range slices.Compact([]string{os.TempDir(), "/var/tmp"}) {
		if c, err = r.startElsewhere(ctx, parent, options); err == nil {
			return c, nil
		}
	}
	return nil, err
}

func (r runner) startElsewhere(ctx context.Context, parent string, o cluster.Options) (*cluster.Cluster, error) {
	target, err := os.MkdirTemp(parent, "countersign-postgres-")
	if err != nil {
		return nil, err
	}
	c, err := cluster.Start(ctx, target, o)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(target))
	}
	if err := os.Symlink(target, r.layout.postgres()); err != nil {
		c.Stop()
		return nil, errors.Join(err, os.RemoveAll(target))
	}
	r.log.Warn("postgresql runs as another user who cannot reach the folder, its data lies elsewhere", "data", target)
	return c, nil
}

// createDatabase makes the deployment's database as the superuser.
func createDatabase(ctx context.Context, c *cluster.Cluster) error {
	db, err := database.Open(c.Config(cluster.Owner))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "CREATE DATABASE "+databaseName); err != nil {
		return fmt.Errorf("creating database: %w", err)
	}
	return nil
}

// databaseConfig is what the services' configurations say of the database.
func databaseConfig(c *cluster.Cluster) config.Database {
	return config.Database{
		Addresses: []string{c.Addr}, Name: databaseName, CA: c.CAFile, ServerName: cluster.ServerName,
	}
}

// superuserURL is the connection string of the database's superuser.
func superuserURL(c *cluster.Cluster) string {
	u := url.URL{
		Scheme: "postgres", Host: c.Addr, Path: databaseName,
		User:     url.UserPassword(cluster.Owner, string(c.Password.Bytes())),
		RawQuery: url.Values{"sslmode": {"verify-full"}, "sslrootcert": {c.CAFile}}.Encode(),
	}
	return u.String()
}
