"""Makes the golden files: models of the real LightGBM and XGBoost, inputs, and what they predict.

Run by hand, in a venv with numpy and either lightgbm or xgboost (or both) of the version wanted:

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install numpy lightgbm xgboost-cpu
    /tmp/golden/bin/python golden.py golden [CASE…]

A file's name tells library and version, so that several versions lie side by side; of old versions a few cases do.
"""

import json
import os
import sys

import numpy as np

ROWS = 24


def data(categories=0, missing=0.2, zeros=0.0, seed=1):
    """Four features, the last one a category if categories are asked for, and labels that hang on all."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(500, 4)) * [1, 10, 0.1, 1000]
    if zeros:
        x[rng.random(x.shape) < zeros] = 0
    if categories:
        x[:, 3] = rng.integers(0, categories, len(x))
    x[rng.random(x.shape) < missing] = np.nan
    clean = np.nan_to_num(x)
    score = clean[:, 0] + 0.1 * clean[:, 1] + np.isnan(x[:, 2]) - (clean[:, 0] == 0)
    score += (clean[:, 3] % 3 == 0) if categories else clean[:, 3] / 1000
    y = score + rng.normal(size=len(x)) * 0.5
    return x, (y > 0.5).astype(float), y


def odd(x, thresholds=(), categories=0):
    """Inputs to predict: some of the data, and values at and beside thresholds."""
    rows = [list(r) for r in x[: ROWS // 2]]
    for t in list(thresholds)[: ROWS // 4]:
        for value in (t, np.nextafter(t, np.inf), np.nextafter(t, -np.inf), float(np.nextafter(np.float32(t), np.float32(-np.inf)))):
            rows.append([value, value, value, value])
    rows += [[np.nan] * 4, [0.0] * 4, [-0.0] * 4, [1e-35] * 4, [1e-36] * 4, [-1e-36] * 4, [1e30] * 4, [-1e30] * 4]
    if categories:
        for c in (-1, -0.5, 0, 0.5, 1.7, 31, 32, 63, 64, categories, 1000, 70000):
            rows.append([0.1, 1, 0.01, c])
    return np.array(rows, dtype=np.float64)


def wanted(name):
    return len(sys.argv) < 3 or name in sys.argv[2:]


def write(out, name, model, form, rows, margins, answers, contributions=None):
    with open(os.path.join(out, name + ".model"), "w") as f:
        f.write(model)
    plain = lambda a: [None if np.isnan(v) else str(v) if np.isinf(v) else float(v) for v in a]
    golden = {"format": form, "rows": [plain(r) for r in rows], "margins": plain(margins), "answers": plain(answers)}
    if contributions is not None:
        golden["contributions"] = [plain(r) for r in contributions]
    with open(os.path.join(out, name + ".json"), "w") as f:
        json.dump(golden, f)


def lightgbm_files(out):
    import lightgbm as lgb

    def case(name, params, rounds=4, categories=0, target="label", valid=False, **how):
        if not wanted(name):
            return
        x, label, value = data(categories, **how)
        y = label if target == "label" else value
        params = {"num_leaves": 7, "min_data_in_leaf": 5, "verbose": -1, "num_threads": 1, "seed": 1, "deterministic": True, **params}
        made = lgb.Dataset(x[:350], y[:350], feature_name=["a", "b", "c", "d"], categorical_feature=[3] if categories else [], free_raw_data=False)
        more = {}
        if valid:
            more = {"valid_sets": [lgb.Dataset(x[350:], y[350:], reference=made)], "callbacks": [lgb.early_stopping(3, verbose=False)]}
        booster = lgb.train(params, made, rounds, **more)
        text = booster.model_to_string()
        text = text.split("\nparameters:")[0] + "\n\npandas_categorical:null\n"  # parameters name what trained it
        thresholds = [n for t in booster.dump_model()["tree_info"] for n in splits(t["tree_structure"])]
        rows = odd(x, thresholds, categories)
        rows = np.vstack([rows, [[np.inf] * 4, [-np.inf] * 4]])
        best = {"num_iteration": booster.best_iteration} if valid else {}
        raw = booster.predict(rows, raw_score=True, **best)
        if params.get("boosting") == "rf":  # raw is the sum, the answer is of the mean
            raw /= booster.num_trees()
        write(out, f"lightgbm-{lgb.__version__}-{name}", text, "lightgbm_text", rows, raw, booster.predict(rows, **best))

    case("binary", {"objective": "binary"})
    case("binary_sigmoid", {"objective": "binary", "sigmoid": 2.5}, 2)
    case("no_missing", {"objective": "binary", "use_missing": False}, 3)
    case("zero_as_missing", {"objective": "binary", "zero_as_missing": True}, zeros=0.3)
    case("zeros", {"objective": "binary"}, zeros=0.3, missing=0)
    case("categories", {"objective": "binary", "min_data_per_group": 5, "cat_smooth": 1, "max_cat_to_onehot": 1}, categories=80)
    case("categories_onehot", {"objective": "binary", "min_data_per_group": 5, "cat_smooth": 1, "max_cat_to_onehot": 9}, categories=6)
    case("cross_entropy", {"objective": "cross_entropy"}, 2)
    case("regression", {"objective": "regression"}, target="value")
    case("quantile", {"objective": "quantile", "alpha": 0.9}, 2, target="value")
    case("stopped_early", {"objective": "binary", "learning_rate": 0.7, "num_leaves": 15}, 60, valid=True)
    case("random_forest", {"objective": "binary", "boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}, 5)
    case("dart", {"objective": "binary", "boosting": "dart", "drop_rate": 0.5, "skip_drop": 0}, 6)
    case("one_leaf", {"objective": "binary", "min_data_in_leaf": 10000}, 2)


def splits(node):
    if "split_feature" not in node:
        return []
    own = [node["threshold"]] if node["decision_type"] == "<=" else []
    return own + splits(node["left_child"]) + splits(node["right_child"])


def xgboost_files(out):
    import xgboost as xgb

    def case(name, params, rounds=4, categories=0, target="label", valid=False, named=True, train=(), **how):
        if not wanted(name):
            return
        x, label, value = data(categories, **how)
        y = label if target == "label" else value
        about = {"feature_names": ["a", "b", "c", "d"] if named else None}
        if categories:
            about |= {"feature_types": ["q", "q", "q", "c"], "enable_categorical": True}
        params = {"max_depth": 3, "eta": 0.5, "nthread": 1, "seed": 1, "tree_method": "hist", **params}
        more = {}
        if valid:
            more = {"evals": [(xgb.DMatrix(x[350:], y[350:], **about), "valid")], "early_stopping_rounds": 3, "verbose_eval": False}
        booster = xgb.train(params, xgb.DMatrix(x[:350], y[:350], **about), rounds, **more)
        model = booster.save_raw("json").decode()
        thresholds = []
        for tree in json.loads(model)["learner"]["gradient_booster"].get("model", {}).get("trees", []):
            thresholds += [float(np.float32(c)) for c, left in zip(tree["split_conditions"], tree["left_children"]) if left >= 0]
        rows = odd(x, thresholds)
        if categories:  # the library refuses categories that cannot be
            rows = odd(x, categories=categories)
            keep = np.isnan(rows[:, 3]) | ((rows[:, 3] >= 0) & (rows[:, 3] < 2**20))
            rows = rows[keep]
        d = xgb.DMatrix(rows, **about)
        best = {"iteration_range": (0, booster.best_iteration + 1)} if valid else {}
        contributions = None
        if params.get("booster") != "dart":
            contributions = booster.predict(d, pred_contribs=True, approx_contribs=True, **best)
        write(out, f"xgboost-{xgb.__version__}-{name}", model, "xgboost_json", rows,
              booster.predict(d, output_margin=True, **best), booster.predict(d, **best), contributions)

    case("binary", {"objective": "binary:logistic"})
    case("base_score", {"objective": "binary:logistic", "base_score": 0.3}, 2)
    case("logistic_regression", {"objective": "reg:logistic"}, 2)
    case("exact", {"objective": "binary:logistic", "tree_method": "exact"})
    case("pruned", {"objective": "binary:logistic", "tree_method": "exact", "gamma": 12, "max_depth": 4})
    case("categories", {"objective": "binary:logistic", "max_cat_to_onehot": 1}, categories=80)
    case("categories_onehot", {"objective": "binary:logistic", "max_cat_to_onehot": 9}, categories=6)
    case("regression", {"objective": "reg:squarederror"}, target="value")
    case("absolute_error", {"objective": "reg:absoluteerror"}, 2, target="value")
    case("stopped_early", {"objective": "binary:logistic", "eta": 1.5, "max_depth": 4}, 60, valid=True)
    case("parallel_trees", {"objective": "binary:logistic", "num_parallel_tree": 3, "subsample": 0.5}, 2)
    case("dart", {"objective": "binary:logistic", "booster": "dart", "rate_drop": 0.5}, 6)
    case("unnamed", {"objective": "binary:logistic"}, 2, named=False)
    case("one_leaf", {"objective": "binary:logistic", "gamma": 1e6}, 2)


if __name__ == "__main__":
    place = sys.argv[1]
    os.makedirs(place, exist_ok=True)
    for make in (lightgbm_files, xgboost_files):
        try:
            make(place)
        except ModuleNotFoundError as missing:
            print("left out:", missing)
