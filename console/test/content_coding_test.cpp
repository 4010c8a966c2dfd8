#include "console/content_coding.h"

#include <gtest/gtest.h>

namespace webhook::console {
namespace {

TEST(ContentCoding, GzipIsTakenByName) {
  for (const char* accepted : {"gzip", "GZIP", "x-gzip", "deflate, gzip", "gzip;q=0.5", "br;q=1.0, gzip;q=0.8, *;q=0.1",
                               "gzip ; q=0.001", "*;q=0, gzip"})
    EXPECT_TRUE(accepts_gzip(accepted)) << accepted;
}

TEST(ContentCoding, AnyCodingIsGzipToo) {
  EXPECT_TRUE(accepts_gzip("*"));
  EXPECT_TRUE(accepts_gzip("br, *;q=0.1"));
}

TEST(ContentCoding, GzipIsNotTakenIfItIsRefusedOrNotNamed) {
  for (const char* refused : {"", "identity", "br", "gzip;q=0", "gzip;q=0.000", "*, gzip;q=0", "br, gzip;q=0",
                              "gzip;q=0, br", "*;q=0", "gzipped", ";;;,"})
    EXPECT_FALSE(accepts_gzip(refused)) << refused;
}

}  // namespace
}  // namespace webhook::console
