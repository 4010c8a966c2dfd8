// An HTTP server on 127.0.0.1 inside the test's own process, which answers as the test's handler says: right, wrong,
// late or never. With or without TLS, by certificates that are made at run time.
#pragma once

#include <openssl/ssl.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace webhook::test {

// What a test opens when another thread may go on.
class Gate {
 public:
  void open();
  // False: it stayed shut for 20 s.
  bool wait();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

struct FreeOpenSsl {
  void operator()(X509* certificate) const noexcept { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
  void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
  void operator()(SSL* connection) const noexcept { SSL_free(connection); }
};

struct Certificate {
  std::unique_ptr<X509, FreeOpenSsl> certificate;
  std::unique_ptr<EVP_PKEY, FreeOpenSsl> key;
};

class CertificateAuthority {
 public:
  CertificateAuthority();
  ~CertificateAuthority();

  // alternative_names as OpenSSL writes them: "DNS:localhost,IP:127.0.0.1". Valid until so many seconds from now.
  Certificate issue(const std::string& alternative_names, long valid_seconds = 3600) const;
  // Its own certificate in a PEM file, which goes with this object.
  const std::string& file() const { return file_; }

 private:
  Certificate self_;
  std::string file_;
};

struct ReceivedRequest {
  std::string method;
  std::string target;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
};

// The handler's end of a connection.
class Peer {
 public:
  Peer(int socket, SSL* tls) : socket_(socket), tls_(tls) {}

  // False: the client has gone.
  bool send(std::string_view bytes);
  // Nothing: the client has gone.
  std::optional<std::string> receive();
  void wait_until_client_closes();
  // The next close() sends a reset.
  void reset_on_close();

 private:
  int socket_;
  SSL* tls_;
};

enum class Then { kKeepAlive, kClose };

class LoopbackServer {
 public:
  using Handler = std::function<Then(const ReceivedRequest& request, Peer& peer)>;

  explicit LoopbackServer(Handler handler);
  LoopbackServer(Handler handler, const Certificate& certificate);
  // Cuts every connection; handlers must come back when send() or receive() says so.
  ~LoopbackServer();

  int port() const { return port_; }
  // http://127.0.0.1:port/path, or https:// with a certificate.
  std::string url(std::string_view path = "/") const;
  std::string url_of_host(std::string_view host, std::string_view path = "/") const;
  std::vector<ReceivedRequest> requests() const;
  int connections_accepted() const { return connections_accepted_; }

 private:
  struct Connection {
    int socket;
    std::thread thread;
  };

  void listen_and_accept();
  void accept_loop();
  void serve(int socket);
  std::optional<ReceivedRequest> read_request(Peer& peer, std::string& buffer) const;

  Handler handler_;
  std::unique_ptr<SSL_CTX, FreeOpenSsl> tls_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> connections_accepted_{0};
  mutable std::mutex mutex_;
  bool stopping_ = false;
  std::list<Connection> connections_;
  std::vector<ReceivedRequest> requests_;
  std::thread acceptor_;
};

// "HTTP/1.1 200 OK" and so on, complete with Content-Length.
std::string http_response(int status, std::string_view body = "", std::string_view more_headers = "");

// A port on 127.0.0.1 that nothing listens on.
int unused_port();

}  // namespace webhook::test
