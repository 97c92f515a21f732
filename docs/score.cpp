// Scores pictures with an exported detector: an example of ONNX Runtime's C++ API.
//
//   g++ -O2 -std=c++17 score.cpp -I ONNXRUNTIME/include -L ONNXRUNTIME/lib -lonnxruntime -o score
//   ./score exported/model.onnx part.ppm ...
//
// Pictures are binary PPM files of 8 bits a value and of the model's size. How a photograph becomes
// one is in detector.json, and done by resize() in infer.py: resized in another way it has another
// score, for which limits do not hold. A detector of tiles, margins or a region of interest gives
// maps only, of which infer.py makes scores.

#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <string>
#include <vector>

struct Picture {
  int64_t height, width;
  std::vector<uint8_t> rgb;  // row by row
};

// The next number of a header, in which lines beginning with '#' are comments.
int64_t read_number(std::istream& file) {
  while ((file >> std::ws).peek() == '#') file.ignore(1 << 20, '\n');
  int64_t number = 0;
  file >> number;
  return number;
}

Picture read_ppm(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const bool is_ppm = file.get() == 'P' && file.get() == '6';
  const int64_t width = read_number(file), height = read_number(file);
  const int64_t largest = read_number(file);
  file.get();  // the white space before the first pixel
  if (!file || !is_ppm || largest != 255 || width < 1 || height < 1 || width > 65535 ||
      height > 65535)
    throw std::runtime_error("'" + path + "' is no binary PPM file of 8 bits a value.");
  Picture picture{height, width, std::vector<uint8_t>(3 * height * width)};
  if (!file.read(reinterpret_cast<char*>(picture.rgb.data()), picture.rgb.size()))
    throw std::runtime_error("'" + path + "' ends before its last pixel.");
  return picture;
}

class Detector {
 public:
  explicit Detector(const std::filesystem::path& model)
      : session_(environment_, model.c_str(), Ort::SessionOptions()) {
    const auto shape = session_.GetInputTypeInfo(0).GetTensorTypeAndShapeInfo().GetShape();
    height_ = shape.at(1);
    width_ = shape.at(2);
    bool has_scores = false;
    Ort::AllocatorWithDefaultOptions allocator;
    for (size_t place = 0; place < session_.GetOutputCount(); ++place)
      has_scores |= session_.GetOutputNameAllocated(place, allocator).get() == std::string("scores");
    if (!has_scores)
      throw std::runtime_error("the model gives no scores, only maps; use infer.py.");
  }

  float score(const std::string& path) {
    Picture picture = read_ppm(path);
    if (picture.height != height_ || picture.width != width_)
      throw std::runtime_error("'" + path + "' has " + size(picture.width, picture.height) +
                               " pixels, expected " + size(width_, height_) + ".");
    const std::vector<int64_t> shape = {1, height_, width_, 3};
    const Ort::Value images = Ort::Value::CreateTensor<uint8_t>(
        memory_, picture.rgb.data(), picture.rgb.size(), shape.data(), shape.size());
    const char* inputs[] = {"images"};
    const char* outputs[] = {"scores"};
    const auto found = session_.Run(Ort::RunOptions(), inputs, &images, 1, outputs, 1);
    return found.at(0).GetTensorData<float>()[0];
  }

 private:
  static std::string size(int64_t width, int64_t height) {
    return std::to_string(width) + "x" + std::to_string(height);
  }

  Ort::Env environment_;
  Ort::Session session_;
  Ort::MemoryInfo memory_ = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  int64_t height_, width_;
};

int main(int count, char** arguments) {
  if (count < 3) {
    std::cerr << "error: give a model and pictures: score model.onnx part.ppm ...\n";
    return 2;
  }
  try {
    Detector detector(arguments[1]);
    std::cout.precision(9);  // which tells every float apart
    for (int place = 2; place < count; ++place)
      std::cout << arguments[place] << '\t' << detector.score(arguments[place]) << '\n';
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return 2;
  }
}
