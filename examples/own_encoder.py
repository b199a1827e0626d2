"""An encoder of your own: any Keras model from an image to numbers. SAC learns to drive by it.

python examples/own_encoder.py 40000
donkey-rl evaluate own_encoder_driver --races 2
"""

import sys

from donkey_rl.agents.driver import Driver
from donkey_rl.agents.encoders.cnn import CnnEncoder
from donkey_rl.agents.feature_env import FeatureVecEnv
from donkey_rl.agents.sac.config import SACConfig
from donkey_rl.agents.sac.sac import SAC
from donkey_rl.agents.tensorflow_setup import keras
from donkey_rl.envs import joined_view
from donkey_rl.experiments import description, sight
from donkey_rl.experiments.config import TrainingConfig

config = TrainingConfig(steps=int(sys.argv[1]), sac=SACConfig(gradient_steps=8))

image = keras.Input(config.camera.shape, dtype="uint8")
x = keras.layers.Cropping2D(((40, 0), (0, 0)))(image)
x = keras.layers.Rescaling(1 / 64, offset=-2.0)(x)
x = keras.layers.AveragePooling2D(8)(x)  # 10 x 20 cells of the road, three colours each.
encoder = CnnEncoder(keras.Model(image, keras.layers.Flatten()(x)))  # Holds any such model.

cars = joined_view.make(config.environments(), config.driven, config.seed)
scaling = sight.scaling(config)
model = SAC(FeatureVecEnv(cars, encoder, scaling), config.sac, seed=config.seed)
model.learn(config.steps)

about = description.of(config, "own_encoder", config.steps, None)
policy = model.deterministic_model()
driver = Driver(encoder, policy, about, history=config.history, scaling=scaling)
driver.save("own_encoder_driver")
print("own_encoder_driver is written: race it with donkey-rl evaluate own_encoder_driver")
