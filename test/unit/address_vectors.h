// The rows of address_vectors.tsv, whose head says what they are.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace webhook::test {

struct AddressVector {
  std::string block;
  std::string error;  // empty: it may be called
  std::vector<std::string> addresses;
};

// The rows of that kind. A test fails if there are none.
inline std::vector<AddressVector> address_vectors(const std::string& kind) {
  const std::string here = __FILE__;
  std::ifstream file(here.substr(0, here.rfind('/') + 1) + "address_vectors.tsv");
  std::vector<AddressVector> vectors;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    std::istringstream row(line);
    std::vector<std::string> fields;
    for (std::string field; std::getline(row, field, '\t');) fields.push_back(field);
    EXPECT_EQ(fields.size(), 6U) << line;
    if (fields.size() != 6 || fields[0] != kind) continue;
    AddressVector vector{.block = fields[1], .error = fields[4] == "-" ? "" : fields[4]};
    std::istringstream addresses(fields[5]);
    for (std::string address; addresses >> address;) vector.addresses.push_back(address);
    vectors.push_back(vector);
  }
  EXPECT_FALSE(vectors.empty()) << "address_vectors.tsv has no row of kind " << kind;
  return vectors;
}

}  // namespace webhook::test
