package stream

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// ServerTLS makes the TLS configuration of a server with one certificate:
// TLS 1.2 or later, ALPN xmpp-client where the client speaks ALPN.
func ServerTLS(c tls.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12, NextProtos: []string{"xmpp-client"}}
}

// LoadOrMakeCertificate reads <domain>.crt and <domain>.key from dir, PEM
// both. Where neither exists it makes a self-signed certificate (ECDSA
// P-256, ten years) for the domain and for this machine, and keeps it there,
// the key readable by its owner alone.
func LoadOrMakeCertificate(dir, domain string) (tls.Certificate, error) {
	certFile, keyFile := filepath.Join(dir, domain+".crt"), filepath.Join(dir, domain+".key")
	_, certErr := os.Stat(certFile)
	_, keyErr := os.Stat(keyFile)
	if errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist) {
		if err := makeCertificate(dir, domain, certFile, keyFile); err != nil {
			return tls.Certificate{}, fmt.Errorf("make certificate for %s: %w", domain, err)
		}
	}
	c, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return c, fmt.Errorf("load certificate for %s: %w", domain, err)
	}
	return c, nil
}

// loopbackNames is how many addresses from 127.0.0.1 on a certificate is good
// for: edge i of one machine listens on 127.0.0.i.
const loopbackNames = 16

func makeCertificate(dir, domain, certFile, keyFile string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: domain},
		NotBefore:             now.Add(-time.Hour),
		NotAfter:              now.AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true, // so that it can be given to a client as its root
		DNSNames:              []string{domain},
		IPAddresses:           []net.IP{net.IPv6loopback},
	}
	for i := range loopbackNames {
		template.IPAddresses = append(template.IPAddresses, net.IPv4(127, 0, 0, byte(i+1)))
	}
	if domain != "localhost" {
		template.DNSNames = append(template.DNSNames, "localhost")
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The certificate comes last: a crash before it leaves a key alone, which
	// the next start reports.
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
}
