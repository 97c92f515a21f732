"""Every field of a run, its default, unit and source. The other files say what differs.

"paper" is the DTSNet paper (ICME 2025), "released" its authors' PyTorch code.
"""

from ml_collections import ConfigDict, FieldReference


def get_config() -> ConfigDict:
    """The paper's settings, with no data set chosen."""
    config = ConfigDict()
    config.name = "default"  # names the run's directory, runs/NAME, unless --workdir is given
    config.rows = ()  # variants to run side by side as the rows of one table, of FILE.py:paper
    config.detector = "student"  # trained; knn: nearest neighbours in teacher features;
    # student+knn: both, the sum of their maps
    config.variant = "paper"  # set by FILE.py:VARIANT; the paper's column that a report shows
    config.seeds = (111,)  # released; a student each, all its randomness follows from its seed
    config.protocol = "final"  # weights to report: after the last step, or best_on_test (paper)
    config.precision = "float32"  # compute dtype: float32 or bfloat16; weights are float32

    config.encoder = ConfigDict()
    config.encoder.name = "wide_resnet50_2"  # or resnet18, resnet34, resnet50, efficientnet_lite0
    config.encoder.weights = "imagenet"  # or the path of a .pth or .safetensors file

    config.student = ConfigDict()
    config.student.bottleneck = "mff"  # mff: the paper's feature fusion; rd: plain, as released
    config.student.reconstruction = True  # APR after the decoder
    config.student.noise_scale = 0.1  # σ of Eq. 5, paper
    config.student.temperature = 0.5  # τ of Eq. 4, released; the paper leaves it open

    config.data = ConfigDict()
    config.data.name = "folder"  # folder, elpv, mvtec_ad, visa or btad
    config.data.root = ""  # directory of the images or of the archive, or a table of images (CSV);
    # "": elpv's, or download
    config.data.category = ""  # one name, or several with commas; empty: all, one model for each;
    # "all": all in one model, which is measured on each of them
    config.data.shard = ""  # "i/n": the i-th of n shares of the categories, i from 0 on
    config.data.image_size = FieldReference(256, field_type=object)  # pixels, a multiple of 32;
    # one number, or (height, width); paper
    config.data.fit = "stretch"  # another aspect: stretch (paper), pad with margins, or crop
    config.data.antialias = True  # False: bilinear without averaging, like OpenCV; released
    config.data.bit_depth = 0  # of deep files: 8, 10, 12, 14, 16; 0: what holds all training images
    config.data.max_megapixels = 200.0  # larger files are refused
    config.data.tile_size = 0  # pixels: squares that photographs are cut into; 0: they are not
    config.data.tile_overlap = 0  # pixels of the photograph that neighbouring tiles share
    config.data.region = ""  # where to look: a mask for all images, or a directory of masks
    config.data.held_back = 0.2  # folder, elpv: share of the good images that is kept for testing
    config.data.held_back_by = "spread"  # over the order of names; or group, or last by name
    config.data.calibration = 0.0  # share of the training images that thresholds rest on instead
    config.data.invert_masks = False  # True: zero marks the defect
    config.data.textures = "dtd"  # dtd: by TFDS; a directory; scikit-image: its photographs; paper
    config.data.foreground = "none"  # M_f: isnet (paper), threshold, none, or a directory of masks
    config.data.foreground_model = ""  # isnet: path of its ONNX file; empty: found or downloaded

    config.synthesis = ConfigDict()
    config.synthesis.every = 2  # the last of so many samples is synthesised; 1: all, 0: none
    config.synthesis.masks = ("intersection", "union")  # of M_1, M_2; paper; also first, second
    config.synthesis.opacity = (0.15, 1.0)  # bounds of β, paper
    config.synthesis.opacity_of = "normal"  # what β weighs: normal (paper) or texture (released)
    config.synthesis.soft_foreground = False  # True: M_f keeps soft edges when resized; released
    config.synthesis.gray_textures = False  # True: textures lose their colour

    config.train = ConfigDict()
    config.train.batch_size = 16  # images; released
    config.train.epochs = 200  # passes over the training images; 0: as visits says
    config.train.visits = 0  # images seen in all, if epochs is 0; 0: epochs_by_category
    config.train.accumulate = 2  # batches a step, whose gradients are averaged; released
    config.train.learning_rate = 0.005  # Adam, bottleneck and decoder; paper
    config.train.reconstruction_learning_rate = 0.001  # Adam, APR; paper
    config.train.average_over = 0.0  # score with weights averaged over this last share of steps;
    # 0: with the newest ones, paper; 0.05 is ours
    config.train.cache_teacher = True  # keep f_T,n of the training images on the device if it fits
    # when training begins; a run that is continued goes on as it began
    config.train.augment = ()  # of normal images and M_f; none in the paper; student only: knn does
    # not train; any of: flips, left-right and up-down, each with probability 1/2; quarter_turns, by
    # 0, 90, 180 or 270°, square images only; rotations, uniform in ±10°, mirrored at the borders;
    # brightness, a factor uniform in 0.9 to 1.1; f_T,n cannot be kept then
    config.train.evaluate_every = 0  # epochs between measurements on the test images; 0: none
    config.train.log_every = 10  # steps
    config.train.profile = ()  # (A, B): steps A to B are traced, for TensorBoard and Perfetto
    config.train.checkpoint_minutes = 1.0  # between two checkpoints; 0: after every step
    config.train.keep_checkpoints = 2
    config.epochs_by_category = ConfigDict()

    config.knn = ConfigDict()
    config.knn.levels = (2, 3)  # whose features are joined; PatchCore
    config.knn.coreset_size = 10000  # vectors that are kept of the good images

    config.threshold = ConfigDict()  # of predictions; may be changed without training or measuring
    config.threshold.false_alarms = 0.01  # share of good parts that may be called NG
    config.threshold.review = 0.05  # share of good parts to be looked at, these included; 0: none

    config.scoring = ConfigDict()
    config.scoring.batch_size = 16  # images
    config.scoring.smoothing = 4.0  # σ in pixels of the Gaussian over score maps, released; 0: off
    config.scoring.levels = (1, 2, 3)  # whose maps are added, Eq. 10
    config.scoring.weigh_by_length = False  # a position's distance counts the more, the longer the
    # teacher's vector is there; ours
    config.scoring.calibrate = False  # divide each level by its spread on training images; ours
    config.scoring.top_share = 0.0  # image score: mean of the largest values of this share of its
    # pixels (with tiles: of the pixels of one); 0: the largest, paper
    config.scoring.measure_at = 1024  # tiles: longer side in pixels of maps for metrics, pictures
    config.scoring.heatmaps = True  # write a picture of every test image
    return config
