package stream

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"

	"github.com/xdg-go/scram"
)

// bindings gives what ties an exchange to this TLS connection: tls-exporter
// for TLS 1.3 (RFC 9266), tls-unique below, and tls-server-end-point where
// it is plain which certificate the client saw (RFC 5929).
func (n *negotiation) bindings() []scram.ChannelBinding {
	if n.secure == nil {
		return nil
	}
	var all []scram.ChannelBinding
	if n.secure.Version >= tls.VersionTLS13 {
		if cb, err := scram.NewTLSExporterBinding(n.secure); err == nil {
			all = append(all, cb)
		}
	} else if len(n.secure.TLSUnique) > 0 {
		all = append(all, scram.NewTLSUniqueBinding(n.secure.TLSUnique))
	}
	if c := n.o.TLS; len(c.Certificates) == 1 && c.GetCertificate == nil && c.GetConfigForClient == nil {
		if sum := endPoint(c.Certificates[0]); sum != nil {
			all = append(all, scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: sum})
		}
	}
	return all
}

// endPoint hashes the certificate as RFC 5929, section 4.1, asks.
func endPoint(c tls.Certificate) []byte {
	leaf := c.Leaf
	if leaf == nil {
		var err error
		if leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return nil
		}
	}
	switch leaf.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		sum := sha512.Sum384(leaf.Raw)
		return sum[:]
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		sum := sha512.Sum512(leaf.Raw)
		return sum[:]
	case x509.PureEd25519, x509.UnknownSignatureAlgorithm:
		return nil // undefined there
	}
	sum := sha256.Sum256(leaf.Raw)
	return sum[:]
}
